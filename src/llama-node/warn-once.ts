import process from "node:process";

const said = new Set<string>();

/** Emits a process warning (`process.on("warning")`, by default printed to standard error), once for each option. */
export function warnOnce(option: string, reason: string): void {
    if (said.has(option)) return;
    said.add(option);
    process.emitWarning(`ArmtLlamaCpp: \`${option}\` is not applied: ${reason}`, {
        type: "ArmtWarning",
        code: `ARMT_${option}`
    });
}

/** For tests: allows each warning again. */
export function forgetWarnings(): void {
    said.clear();
}
