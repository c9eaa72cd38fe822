import { setImmediate } from "node:timers/promises";

/** Time that work on the event loop may take before others get a turn. Unit: milliseconds. */
const sliceMs = 10;

/** Divides long work on the event loop, so that other requests get their turn. */
export class TimeSlice {
    private started = performance.now();

    constructor(private readonly signal?: AbortSignal) {}

    /** Whether the work should pause now. */
    get isOver(): boolean {
        return performance.now() - this.started > sliceMs;
    }

    /**
     * Lets others run.
     * @throws the signal's reason if it is aborted
     */
    async pause(): Promise<void> {
        await setImmediate();
        this.signal?.throwIfAborted();
        this.started = performance.now();
    }
}
