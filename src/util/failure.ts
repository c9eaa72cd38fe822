import process from "node:process";

/** Incorrect usage of the command line. Exit code: 2. */
export class UsageError extends Error {
    override name = "UsageError";
}

/** Prints one line on standard error, or all details with `verbose`, and sets the exit code. */
export function reportFailure(error: unknown, verbose: boolean): void {
    const isUsage = error instanceof UsageError;
    const text = verbose && !isUsage && error instanceof Error ? describeAll(error) : summary(error);
    process.stderr.write(`armt: ${text}\n`);
    process.exitCode = isUsage ? 2 : 1;
}

function summary(error: unknown): string {
    const message = error instanceof Error ? error.message : String(error);
    // yargs lists wrong values on separate lines; a build error has the compiler's output after its first line
    const line = error instanceof UsageError ? message.replaceAll(/\s*\n\s*/g, " ") : message.split("\n")[0];
    return line?.trim() || "unknown error";
}

function describeAll(error: Error): string {
    const own = error.stack ?? error.message;
    return error.cause instanceof Error ? `${own}\ncaused by: ${describeAll(error.cause)}` : own;
}
