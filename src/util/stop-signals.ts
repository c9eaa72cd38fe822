import os from "node:os";
import process from "node:process";

/**
 * Signals that ask a process to stop. Windows has no SIGTERM: there, Ctrl+Break and a closing console window arrive as
 * SIGBREAK and SIGHUP, and other programs can only end a process at once.
 */
export function stopSignals(system: NodeJS.Platform = process.platform): readonly NodeJS.Signals[] {
    return system === "win32" ? ["SIGINT", "SIGBREAK", "SIGHUP"] : ["SIGINT", "SIGTERM"];
}

/** The exit code of a process that a signal ended. */
export function signalExitCode(signal: NodeJS.Signals): number {
    return 128 + os.constants.signals[signal];
}
