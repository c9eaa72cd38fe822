import process from "node:process";
import { ArmtError } from "../../util/errors.js";

/** Exit code of a program that the terminal's interrupt ended: 128 + SIGINT. */
const interruptedExitCode = 130;

/** Why an evaluation ended. */
export class InterruptedError extends ArmtError {
    override name = "InterruptedError";

    constructor() {
        super("interrupted");
    }
}

/**
 * Runs `work` with a signal that the first interrupt aborts, so that what is done so far can be shown; the second ends
 * the process at once.
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
