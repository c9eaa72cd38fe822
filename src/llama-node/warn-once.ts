import process from "node:process";

const said = new Set<string>();

/** A warning of the process (`process.on("warning")`, on standard error by default), once for each option. */
export function warnOnce(option: string, reason: string): void {
    if (said.has(option)) return;
    said.add(option);
    process.emitWarning(`ArmtLlamaCpp: \`${option}\` is not applied: ${reason}`, {
        type: "ArmtWarning",
        code: `ARMT_${option}`
    });
}

/** For tests: warnings are given again. */
export function forgetWarnings(): void {
    said.clear();
}
