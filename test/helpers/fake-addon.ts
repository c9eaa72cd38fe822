import { setTimeout } from "node:timers/promises";
import type {
    ArmtAddon,
    NativeContextOptions,
    NativePlacement,
    NativeProductTimes,
    NativeReadPart,
    NativeReadResult,
    NativeSequenceStats
} from "../../plugin/native/addon.js";
import type { ArmtDevice, ArmtTraceStep } from "../../plugin/types.js";

/** Counters of a sequence that has read nothing. */
export const noStats: NativeSequenceStats = {
    tokens: 0,
    segmentStart: 0,
    openTokens: 0,
    pendingTokens: 0,
    segmentsClosed: 0,
    segmentsInFlight: 0,
    graphs: 0,
    graphsReused: 0,
    graphsReplayed: 0,
    cells: 0
};

/** An engine that only records its calls. The test sets its answers. */
export class FakeAddon implements ArmtAddon {
    /** Why each read fails; undefined if none does. */
    readFailure: string | undefined;
    /** Time that a read takes. Unit: milliseconds. */
    readMs = 0;
    readonly apiVersion = 8;
    /** The calls that tests check, in order. */
    readonly calls: unknown[][] = [];
    stats: NativeSequenceStats = noStats;
    message = "";
    /** Whether a new context gets an id. */
    knowsContexts = true;
    private contexts = 0;

    load(): void {}

    verify(): string {
        return "";
    }

    limits() {
        return { maxLayers: 512, maxExperts: 1024 };
    }

    beginCreation(): boolean {
        return true;
    }

    endCreation(): void {}

    setContextOptions(options: NativeContextOptions | null): void {
        this.calls.push(["setContextOptions", options]);
    }

    loadRpc(): void {}

    serveRpc(): void {}

    async setPlacement(placement: NativePlacement): Promise<void> {
        this.calls.push(["setPlacement", placement]);
    }

    forgetPlacement(path: string): void {
        this.calls.push(["forgetPlacement", path]);
    }

    async getDevices(): Promise<ArmtDevice[]> {
        return [];
    }

    async quantize(): Promise<Buffer> {
        throw new Error("a fake addon quantizes nothing");
    }

    async dequantize(): Promise<Buffer> {
        throw new Error("a fake addon dequantizes nothing");
    }

    lastContextId(): number {
        // the plugin calls this before and after each creation
        if (this.knowsContexts) this.contexts++;
        return this.contexts;
    }

    contextInfo() {
        return {
            schedule: 2,
            segmentOverflow: 1,
            segmentSize: 8,
            openSegmentLimit: 16,
            maxCells: 4,
            layers: 1,
            memoryTokens: 2,
            sequences: 1,
            memoryHeads: 1,
            keyLength: 6,
            valueLength: 32,
            useDenom: true,
            stateType: 0,
            textsPerLayer: 0,
            fp8Products: 0,
            memoryBytes: 792,
            totalBytes: 2000,
            graphs: 9,
            graphsReused: 7,
            graphsReplayed: 6,
            graphParts: 12,
            fp8Computed: 40,
            fp8Left: 8
        };
    }

    sequenceStats(): NativeSequenceStats {
        return this.stats;
    }

    planSegments(...args: number[]): void {
        this.calls.push(["planSegments", ...args.slice(1)]);
    }

    growSegment(_contextId: number, sequenceId: number, grows: boolean): void {
        this.calls.push(["growSegment", sequenceId, grows]);
    }

    async closeSegment(_contextId: number, sequenceId: number): Promise<void> {
        this.calls.push(["closeSegment", sequenceId]);
    }

    async readMemory(): Promise<{ a: Float32Array; z?: Float32Array }> {
        throw new Error("layer 9 does not exist");
    }

    async decode(_contextId: number, _sequenceId: number, tokens: Int32Array, start: number): Promise<Float32Array> {
        this.calls.push(["decode", [...tokens], start]);
        this.stats = { ...this.stats, tokens: start + tokens.length };
        return Float32Array.from(tokens);
    }

    async read(_contextId: number, parts: readonly NativeReadPart[]): Promise<NativeReadResult> {
        await setTimeout(this.readMs);
        this.calls.push(["read", ...parts.map(({ sequenceId, start, tokens }) => [sequenceId, start, [...tokens]])]);
        const tokens = parts.reduce((sum, part) => sum + part.tokens.length, 0);
        if (this.readFailure !== undefined) return { tokens, failure: this.readFailure };
        this.stats = { ...this.stats, tokens: this.stats.tokens + tokens };
        return { tokens };
    }

    interruptRead(_contextId: number): void {}

    async saveState(_contextId: number, sequenceId: number, closedOnly: boolean): Promise<Buffer> {
        this.calls.push(["saveState", sequenceId, closedOnly]);
        return Buffer.from("state");
    }

    async loadState(_contextId: number, sequenceId: number, state: Buffer, _tokens: number): Promise<void> {
        this.calls.push(["loadState", sequenceId, state.toString()]);
    }

    async checkState(_contextId: number, sequenceId: number): Promise<void> {
        this.calls.push(["checkState", sequenceId]);
    }

    async copySequence(_contextId: number, from: number, to: number): Promise<void> {
        this.calls.push(["copySequence", from, to]);
    }

    setTrace(_contextId: number, enabled: boolean): void {
        this.calls.push(["setTrace", enabled]);
    }

    takeTrace(): ArmtTraceStep[] {
        return [];
    }

    async measureProducts(): Promise<NativeProductTimes> {
        throw new Error("a fake addon multiplies nothing");
    }

    sequenceError(): string {
        return "";
    }

    lastError(): string {
        return this.message;
    }
}
