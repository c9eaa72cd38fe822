import process from "node:process";
import { ArmtError } from "../../util/errors.js";

/** Exit code after a terminal interrupt: 128 + SIGINT. */
const interruptedExitCode = 130;

/** Reports that an interrupt ended an evaluation. */
export class InterruptedError extends ArmtError {
    override name = "InterruptedError";

    constructor() {
        super("interrupted");
    }
}

/**
 * Runs `work` with a signal. The first interrupt aborts the signal, so that the results so far can be shown. The second
 * interrupt ends the process at once.
 */
export async function withInterrupt<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    const onInterrupt = () => {
        if (controller.signal.aborted) process.exit(interruptedExitCode);
        controller.abort(new InterruptedError());
    };
    process.on("SIGINT", onInterrupt);
    try {
        return await work(controller.signal);
    } finally {
        process.off("SIGINT", onInterrupt);
    }
}
