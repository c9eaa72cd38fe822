import type { LlamaContext, LlamaContextSequence, Token } from "../../../plugin/index.js";
import { ApiError, draining } from "../errors.js";

type LendRequest = {
    readonly prompt: readonly Token[];
    readonly isDocument: boolean;
    /** The only sequence that will do. */
    readonly only?: LlamaContextSequence;
};

type Waiting = {
    readonly request: LendRequest;
    readonly take: (sequence: LlamaContextSequence) => void;
    readonly refuse: (error: unknown) => void;
};

/**
 * The sequences of a context, lent to one request each, first come, first served. If all are lent, a request waits in a
 * queue of limited length. Documents take hours, so that they leave one of several sequences to others.
 */
export class SequencePool {
    private readonly sequences: LlamaContextSequence[];
    private readonly idle: LlamaContextSequence[];
    private readonly queue: Waiting[] = [];
    private documents = 0;
    private isClosed = false;
    private readonly drained: (() => void)[] = [];
    /** Mean time that a request keeps a sequence. Unit: milliseconds. */
    private meanMs = 1000;

    constructor(
        context: LlamaContext,
        private readonly maxQueue: number
    ) {
        this.sequences = Array.from({ length: context.totalSequences }, () => context.getSequence());
        this.idle = [...this.sequences];
    }

    get busy(): number {
        return this.sequences.length - this.idle.length;
    }

    get waiting(): number {
        return this.queue.length;
    }

    get size(): number {
        return this.sequences.length;
    }

    /** All sequences, and whether a request uses them. */
    list(): { readonly sequence: LlamaContextSequence; readonly isBusy: boolean }[] {
        return this.sequences.map((sequence) => ({ sequence, isBusy: !this.idle.includes(sequence) }));
    }

    get closed(): boolean {
        return this.isClosed;
    }

    /** @throws {ApiError} if the queue is full, so that no work begins that cannot be finished */
    checkRoom(request: Pick<LendRequest, "isDocument" | "only"> = { isDocument: false }): void {
        if (this.isClosed) throw draining();
        if (this.mustWait(request) && this.queue.length >= this.maxQueue)
            throw new ApiError(429, `${this.maxQueue} requests are waiting already; try again later`, {
                code: "queue_full",
                retryAfter: this.retryAfter
            });
    }

    /**
     * Runs `work` with a sequence that no other request uses.
     * @param prompt the tokens to read; the sequence that already holds most of them is preferred
     * @throws {ApiError} if the queue is full or the server is ending
     */
    async use<T>(
        prompt: readonly Token[],
        signal: AbortSignal,
        work: (sequence: LlamaContextSequence) => Promise<T>
    ): Promise<T> {
        return await this.lend({ prompt, isDocument: false }, signal, work);
    }

    /**
     * Runs `work`, which reads a document, with a sequence that no other request uses. It waits while documents use all
     * sequences but one.
     * @throws {ApiError} if the queue is full or the server is ending
     */
    async useForDocument<T>(signal: AbortSignal, work: (sequence: LlamaContextSequence) => Promise<T>): Promise<T> {
        return await this.lend({ prompt: [], isDocument: true }, signal, work);
    }

    /**
     * Runs `work` with one sequence, once no other request uses it.
     * @throws {ApiError} if the queue is full or the server is ending
     */
    async useOnly<T>(only: LlamaContextSequence, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
        return await this.lend({ prompt: [], isDocument: false, only }, signal, work);
    }

    private async lend<T>(
        request: LendRequest,
        signal: AbortSignal,
        work: (sequence: LlamaContextSequence) => Promise<T>
    ): Promise<T> {
        signal.throwIfAborted();
        this.checkRoom(request);
        const sequence = this.mustWait(request) ? await this.wait(request, signal) : this.pick(request);
        const started = performance.now();
        try {
            return await work(sequence);
        } finally {
            this.meanMs += 0.1 * (performance.now() - started - this.meanMs);
            this.release(sequence, request);
        }
    }

    /** Accepts no more requests, and waits for running and queued ones. */
    async drain(): Promise<void> {
        this.isClosed = true;
        if (this.busy === 0 && this.queue.length === 0) return;
        await new Promise<void>((resolve) => this.drained.push(resolve));
    }

    private mustWait({ isDocument, only }: Pick<LendRequest, "isDocument" | "only">): boolean {
        if (only !== undefined) return !this.idle.includes(only);
        return this.idle.length === 0 || (isDocument && this.documents >= Math.max(1, this.sequences.length - 1));
    }

    /**
     * Takes an idle sequence; there must be one. Prefers the longest reusable prefix, then the one that has been idle
     * longest.
     */
    private pick({ prompt, isDocument, only }: LendRequest): LlamaContextSequence {
        let best = only;
        let most = 0;
        for (const sequence of only === undefined ? this.idle : []) {
            const held = usablePrefix(sequence, prompt);
            if (best !== undefined && held <= most) continue;
            best = sequence;
            most = held;
        }
        this.idle.splice(this.idle.indexOf(best!), 1);
        if (isDocument) this.documents++;
        return best!;
    }

    private async wait(request: LendRequest, signal: AbortSignal): Promise<LlamaContextSequence> {
        return await new Promise((resolve, reject) => {
            const leave = () => {
                this.queue.splice(this.queue.indexOf(waiting), 1);
                waiting.refuse(signal.reason);
                this.checkDrained();
            };
            const waiting: Waiting = {
                request,
                take: (sequence) => {
                    signal.removeEventListener("abort", leave);
                    resolve(sequence);
                },
                refuse: reject
            };
            signal.addEventListener("abort", leave, { once: true });
            this.queue.push(waiting);
        });
    }

    private release(sequence: LlamaContextSequence, { isDocument }: LendRequest): void {
        this.idle.push(sequence);
        if (isDocument) this.documents--;
        const next = this.queue.findIndex(({ request }) => !this.mustWait(request));
        if (next >= 0) {
            const [{ request, take }] = this.queue.splice(next, 1) as [Waiting];
            take(this.pick(request));
        }
        this.checkDrained();
    }

    private checkDrained(): void {
        if (!this.isClosed || this.busy > 0 || this.queue.length > 0) return;
        for (const resolve of this.drained.splice(0)) resolve();
    }

    /** Estimated time until the current queue has been served. Unit: seconds. */
    private get retryAfter(): number {
        const rounds = this.queue.length / this.sequences.length;
        return Math.min(600, Math.max(1, Math.ceil((rounds * this.meanMs) / 1000)));
    }
}

/** Tokens of a prompt that this sequence can reuse. */
function usablePrefix(sequence: LlamaContextSequence, prompt: readonly Token[]): number {
    if (sequence.nextTokenIndex === 0 || prompt.length === 0) return 0;
    const same = sequence.compareContextTokens(prompt as Token[]).firstDifferentIndex;
    const { armt } = sequence;
    // closed segments cannot be removed, so a difference in one of them makes all of them useless
    if (armt !== undefined && same < armt.tokens - armt.openTokens) return 0;
    return same;
}
