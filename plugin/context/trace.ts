import type { EngineContext } from "../native/EngineContext.js";
import type { ArmtTraceStep } from "../types.js";

/** The record of a context's graph evaluations: `context.armt.trace`. Off until `start()`, and costs nothing then. */
export class ArmtTrace {
    private running = false;

    /** @internal */
    constructor(private readonly engine: EngineContext) {}

    /** Whether evaluations are recorded. */
    get enabled(): boolean {
        return this.running;
    }

    /** Records from now on, and forgets what was recorded. Each step then waits for its result; the engine keeps 2^20 steps at most. */
    start(): void {
        this.engine.addon.setTrace(this.engine.id, true);
        this.running = true;
    }

    /** Gives the steps that were recorded since the last call, and goes on. */
    take(): ArmtTraceStep[] {
        return this.engine.addon.takeTrace(this.engine.id);
    }

    /** Gives the steps that were recorded since the last call, and records no more. */
    stop(): ArmtTraceStep[] {
        const steps = this.take();
        this.engine.addon.setTrace(this.engine.id, false);
        this.running = false;
        return steps;
    }
}
