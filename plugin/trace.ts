import type { ArmtAddon } from "./addon.js";

/** One graph evaluation of the engine, recorded while a context is traced. */
export interface ArmtTraceStep {
    /**
     * `"diagonal"`: whole segments of one sequence, each in another layer; the last one may be the open segment. `"open"`: rows of open segments, through
     * all layers.
     */
    readonly type: "diagonal" | "open";
    /** Since `start()`. Unit: milliseconds, as all times here. */
    readonly startMs: number;
    /** Of `timeMs`, what passed before the computation: building and allocating the graph where the one before did not fit. */
    readonly buildMs: number;
    /** From the step's begin until its result was there. */
    readonly timeMs: number;
    /** The sequence's number in the context; of the first, where several shared the step. */
    readonly sequence: number;
    /** Sequences in the step. */
    readonly sequences: number;
    /** Segment of the cell in layer `firstLayer`, from 0. In a diagonal, the cell in layer `firstLayer + i` has segment `segment - i`. */
    readonly segment: number;
    /** First layer of the step's cells. */
    readonly firstLayer: number;
    /** Layer after the last one. */
    readonly endLayer: number;
    /** Text tokens of each cell. An open segment's cell in a diagonal is as long as the others, whatever its number of tokens. */
    readonly textRows: number;
    /** Memory tokens that follow them; 0 where the segment stays open. */
    readonly memoryRows: number;
    /** Tokens whose logits the step computed. */
    readonly outputs: number;
    /** The graph of the step before was used again; else one was built. */
    readonly reused: boolean;
    /** The GPU replayed the graph as one. Only the backend of `armt build --tuned` tells. */
    readonly replayed: boolean;
}

/** The record of a context's graph evaluations: `context.armt.trace`. Off until `start()`, and costs nothing then. */
export class ArmtTrace {
    private running = false;

    /** @internal */
    constructor(
        private readonly addon: ArmtAddon,
        private readonly contextId: number
    ) {}

    /** Whether evaluations are recorded. */
    get enabled(): boolean {
        return this.running;
    }

    /** Records from now on, and forgets what was recorded. Each step then waits for its result; the engine keeps 2^20 steps at most. */
    start(): void {
        this.addon.setTrace(this.contextId, true);
        this.running = true;
    }

    /** Gives the steps that were recorded since the last call, and goes on. */
    take(): ArmtTraceStep[] {
        return this.addon.takeTrace(this.contextId);
    }

    /** Gives the steps that were recorded since the last call, and records no more. */
    stop(): ArmtTraceStep[] {
        const steps = this.take();
        this.addon.setTrace(this.contextId, false);
        this.running = false;
        return steps;
    }
}
