import type { ExecutionContext } from "ava";
import { ArmtError } from "../../src/util/errors.js";
import { paced } from "./pace.js";

/** Time of the processor for a bad input, beyond the start of Node. Unit: milliseconds. */
const maxTime = 1000;

/** Growth of the process's memory. Unit: bytes. */
const maxGrowth = 256 * 2 ** 20;

/** Runs `work`, which must take little time of the processor and little memory. Other tests must not run meanwhile. */
export async function bounded<T>(t: ExecutionContext, what: string, work: () => Promise<T>): Promise<T> {
    const memory = process.memoryUsage.rss();
    const started = process.cpuUsage();
    try {
        return await work();
    } finally {
        const { user, system } = process.cpuUsage(started);
        const milliseconds = (user + system) / 1000;
        t.true(milliseconds < maxTime || milliseconds < paced(maxTime), `${what}: ${milliseconds} ms`);
        const growth = process.memoryUsage.rss() - memory;
        t.true(growth < maxGrowth, `${what}: ${growth} bytes`);
    }
}

/**
 * Checks that an input is refused with one line, soon, and without much memory.
 * @param kind class of the error. Default: this package's own
 */
export async function refuses(
    t: ExecutionContext,
    what: string,
    work: () => Promise<unknown>,
    kind: new (message: string) => Error = ArmtError
): Promise<void> {
    const error = await bounded(t, what, () => t.throwsAsync(work(), { instanceOf: kind }, what));
    t.notRegex(error?.message ?? "", /\n/, what);
}
