import { ApiError, draining } from "../errors.js";

/** A model while it is loaded. */
export interface PooledModel {
    /** Frees the memory that it takes. */
    dispose(): Promise<void>;
}

/** A model that can be loaded. */
export interface ModelSource<M extends PooledModel> {
    /** Name of the model in the API. */
    readonly id: string;
    /** Memory that it takes while it is loaded. Unit: bytes. */
    readonly bytes: number;
    /** @param signal ends the loading, when the server ends */
    load(signal: AbortSignal): Promise<M>;
    /** A model that is loaded already and stays so. */
    readonly loaded?: M;
}

export type ModelState = "unloaded" | "loading" | "loaded";

export interface ModelPoolOptions {
    /** Models that are loaded at once. Default: all. */
    maxModels?: number;
    /** Size of all loaded models; a larger one is loaded alone. Unit: bytes. Default: no bound. */
    maxBytes?: number;
    /** Requests that may wait for models. Default: no bound. */
    maxWaiting?: number;
    /**
     * Time that a request waits for a model in use to become idle; after that, the least recently used one takes on
     * nothing new, unless it is reading a document. Unit: milliseconds. Default: 5000.
     */
    patienceMs?: number;
    onLoad?: (id: string, ms: number) => void;
    onUnload?: (id: string) => void;
    /** A model that could not be loaded or unloaded. */
    onError?: (id: string, error: unknown) => void;
}

type Slot<M extends PooledModel> = {
    readonly source: ModelSource<M>;
    model: M | undefined;
    isLoading: boolean;
    /** Requests that use it. */
    users: number;
    /** Of these, those that may take hours. */
    longUsers: number;
    /** Grows with every use. */
    lastUse: number;
};

type Waiting<M extends PooledModel> = {
    readonly slot: Slot<M>;
    readonly since: number;
    readonly grant: (model: M) => void;
    readonly refuse: (error: unknown) => void;
};

const defaultPatienceMs = 5000;

/**
 * Models that are loaded when a request needs them. If they reach a bound, the least recently used one is unloaded, but
 * never while a request uses it. One model is loaded or unloaded at a time, and requests for loaded ones go on
 * meanwhile.
 */
export class ModelPool<M extends PooledModel> {
    private readonly slots: ReadonlyMap<string, Slot<M>>;
    /** Requests for models that are not loaded, in the order of their arrival. */
    private readonly queue: Waiting<M>[] = [];
    /** A model that takes on nothing new, since the first request in the queue needs its room. */
    private leaving: { readonly slot: Slot<M>; readonly first: Waiting<M> } | undefined;
    private change: Promise<void> | undefined;
    private timer: NodeJS.Timeout | undefined;
    private uses = 0;
    private isClosed = false;
    private readonly drained: (() => void)[] = [];
    private readonly ending = new AbortController();

    /** @param sources with different ids, the default model first */
    constructor(
        sources: readonly ModelSource<M>[],
        private readonly options: ModelPoolOptions = {}
    ) {
        const slots = sources.map((source) => ({
            source,
            model: source.loaded,
            isLoading: false,
            users: 0,
            longUsers: 0,
            lastUse: 0
        }));
        this.slots = new Map(slots.map((slot) => [slot.source.id, slot]));
    }

    /** The names of the models, the default first. */
    get ids(): string[] {
        return [...this.slots.keys()];
    }

    has(id: string): boolean {
        return this.slots.has(id);
    }

    stateOf(id: string): ModelState {
        const { model, isLoading } = this.slot(id);
        if (isLoading) return "loading";
        return model === undefined ? "unloaded" : "loaded";
    }

    /** A model to describe; to work with it, {@link use} it. Undefined if it is not loaded. */
    peek(id: string): M | undefined {
        return this.slot(id).model;
    }

    /** Requests that use a model. */
    get users(): number {
        return [...this.slots.values()].reduce((sum, { users }) => sum + users, 0);
    }

    /** Requests that wait for a model. */
    get waiting(): number {
        return this.queue.length;
    }

    get closed(): boolean {
        return this.isClosed;
    }

    /**
     * Runs `work` with a model, which is loaded first if it has to be, and stays loaded until `work` ends.
     * @param isLong whether `work` may take hours, so that nobody should wait for its end
     * @throws {ApiError} if it cannot be loaded, if too many requests wait, or if the server is ending
     */
    async use<T>(id: string, signal: AbortSignal, work: (model: M) => Promise<T>, isLong = false): Promise<T> {
        signal.throwIfAborted();
        if (this.isClosed) throw draining();
        const slot = this.slot(id);
        const model = slot.model !== undefined && this.leaving?.slot !== slot ? this.take(slot) : undefined;
        const used = model ?? (await this.wait(slot, signal));
        if (isLong) slot.longUsers++;
        try {
            return await work(used);
        } finally {
            if (isLong) slot.longUsers--;
            slot.users--;
            slot.lastUse = ++this.uses;
            this.advance();
        }
    }

    /**
     * Unloads a model that no request uses.
     * @returns whether it is unloaded now
     */
    async unload(id: string): Promise<boolean> {
        const slot = this.slot(id);
        while (this.change !== undefined) await this.change;
        if (slot.model === undefined) return true;
        if (slot.users > 0 || slot.source.loaded !== undefined) return false;
        await this.begin(() => this.free(slot));
        return true;
    }

    /** Accepts no more requests, and waits for those that use a model or wait for one. */
    async drain(): Promise<void> {
        this.isClosed = true;
        if (this.users === 0 && this.queue.length === 0) return;
        await new Promise<void>((resolve) => this.drained.push(resolve));
    }

    /** Ends a loading and unloads all models; requests must have ended. */
    async dispose(): Promise<void> {
        this.isClosed = true;
        this.ending.abort(draining());
        for (const { refuse } of this.queue.splice(0)) refuse(draining());
        clearTimeout(this.timer);
        while (this.change !== undefined) await this.change;
        for (const slot of this.slots.values()) if (slot.model !== undefined) await this.free(slot);
    }

    private slot(id: string): Slot<M> {
        const slot = this.slots.get(id);
        if (slot === undefined) throw new RangeError(`the pool lacks the model ${id}`);
        return slot;
    }

    private take(slot: Slot<M>): M {
        slot.users++;
        slot.lastUse = ++this.uses;
        return slot.model!;
    }

    private async wait(slot: Slot<M>, signal: AbortSignal): Promise<M> {
        const { maxWaiting = Number.POSITIVE_INFINITY } = this.options;
        if (this.queue.length >= maxWaiting)
            throw new ApiError(429, `${maxWaiting} requests wait for models already; try again later`, {
                code: "queue_full",
                retryAfter: 5
            });
        return await new Promise((resolve, reject) => {
            const leave = () => {
                const at = this.queue.indexOf(waiting);
                if (at < 0) return;
                this.queue.splice(at, 1);
                reject(signal.reason);
                this.advance();
            };
            const end = () => signal.removeEventListener("abort", leave);
            const waiting: Waiting<M> = {
                slot,
                since: performance.now(),
                grant: (model) => {
                    end();
                    resolve(model);
                },
                refuse: (error) => {
                    end();
                    reject(error);
                }
            };
            signal.addEventListener("abort", leave, { once: true });
            this.queue.push(waiting);
            this.advance();
        });
    }

    /** Gives requests what they wait for, as far as it is there, and begins what the first of the rest needs. */
    private advance(): void {
        for (const waiting of [...this.queue]) {
            // the first may have got its room from another model; then those who want the one that was to leave get it
            if (this.queue[0] !== this.leaving?.first) this.leaving = undefined;
            if (waiting.slot.model === undefined || this.leaving?.slot === waiting.slot) continue;
            this.queue.splice(this.queue.indexOf(waiting), 1);
            waiting.grant(this.take(waiting.slot));
        }
        if (this.queue[0] !== this.leaving?.first) this.leaving = undefined;
        this.checkDrained();
        const [first] = this.queue;
        if (first === undefined || this.change !== undefined) return;
        clearTimeout(this.timer);
        if (this.fits(first.slot)) {
            void this.begin(() => this.load(first.slot));
            return;
        }
        const movable = this.movable;
        const idle = movable.find(({ users }) => users === 0);
        if (idle !== undefined) void this.begin(() => this.free(idle));
        else
            this.bePatient(
                first,
                movable.find(({ longUsers }) => longUsers === 0)
            );
    }

    /** After a while, a model that is always in use takes on nothing new, so that another gets its turn. */
    private bePatient(first: Waiting<M>, oldest: Slot<M> | undefined): void {
        if (this.leaving !== undefined || oldest === undefined) return;
        const left = first.since + (this.options.patienceMs ?? defaultPatienceMs) - performance.now();
        if (left > 0) this.timer = setTimeout(() => this.advance(), Math.ceil(left));
        else this.leaving = { slot: oldest, first };
    }

    private get loaded(): Slot<M>[] {
        return [...this.slots.values()].filter(({ model }) => model !== undefined);
    }

    /** Loaded models that may be unloaded, the least recently used first. */
    private get movable(): Slot<M>[] {
        return this.loaded.filter(({ source }) => source.loaded === undefined).sort((a, b) => a.lastUse - b.lastUse);
    }

    private fits({ source }: Slot<M>): boolean {
        const { maxModels = Number.POSITIVE_INFINITY, maxBytes = Number.POSITIVE_INFINITY } = this.options;
        const { loaded } = this;
        const bytes = loaded.reduce((sum, slot) => sum + slot.source.bytes, source.bytes);
        return loaded.length === 0 || (loaded.length < maxModels && bytes <= maxBytes);
    }

    private async begin(change: () => Promise<void>): Promise<void> {
        this.change = change();
        await this.change;
        this.change = undefined;
        this.advance();
    }

    private async load(slot: Slot<M>): Promise<void> {
        const { id } = slot.source;
        const started = performance.now();
        slot.isLoading = true;
        try {
            slot.model = await slot.source.load(this.ending.signal);
            slot.lastUse = ++this.uses;
            this.options.onLoad?.(id, performance.now() - started);
        } catch (error) {
            if (!this.ending.signal.aborted) this.options.onError?.(id, error);
            const refused = this.ending.signal.aborted ? draining() : notLoaded(id);
            for (const waiting of this.queue.filter((each) => each.slot === slot)) {
                this.queue.splice(this.queue.indexOf(waiting), 1);
                waiting.refuse(refused);
            }
        } finally {
            slot.isLoading = false;
        }
    }

    private async free(slot: Slot<M>): Promise<void> {
        const { id } = slot.source;
        const model = slot.model!;
        slot.model = undefined;
        try {
            await model.dispose();
            this.options.onUnload?.(id);
        } catch (error) {
            this.options.onError?.(id, error);
        }
    }

    private checkDrained(): void {
        if (!this.isClosed || this.users > 0 || this.queue.length > 0) return;
        for (const resolve of this.drained.splice(0)) resolve();
    }
}

function notLoaded(id: string): ApiError {
    return new ApiError(500, `the model \`${id}\` cannot be loaded; the server's log says why`, {
        param: "model",
        code: "model_load_failed"
    });
}
