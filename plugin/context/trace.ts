import type { EngineContext } from "../native/EngineContext.js";
import type { ArmtTraceStep } from "../types.js";

/** The record of a context's graph evaluations: `context.armt.trace`. It costs nothing until `start()`. */
export class ArmtTrace {
    private running = false;

    /** @internal */
    constructor(private readonly engine: EngineContext) {}

    /** Whether evaluations are recorded. */
    get enabled(): boolean {
        return this.running;
    }

    /**
     * Starts recording, and drops what was recorded before. From then on each step waits for its result. The engine
     * keeps at most 2^20 steps.
     */
    start(): void {
        this.engine.addon.setTrace(this.engine.id, true);
        this.running = true;
    }

    /** Returns the steps recorded since the last call, and keeps recording. */
    take(): ArmtTraceStep[] {
        return this.engine.addon.takeTrace(this.engine.id);
    }

    /** Returns the steps recorded since the last call, and stops recording. */
    stop(): ArmtTraceStep[] {
        const steps = this.take();
        this.engine.addon.setTrace(this.engine.id, false);
        this.running = false;
        return steps;
    }
}
