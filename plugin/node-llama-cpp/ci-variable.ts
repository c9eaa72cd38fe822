import process from "node:process";

/** What node-llama-cpp takes for a boolean. */
const booleans = ["true", "false", "1", "0"];

/** How many callers need a `CI` that node-llama-cpp can read. */
let users = 0;
/** The variable's own value meanwhile. */
let own: string | undefined;

/**
 * Makes the environment variable `CI` a boolean until {@link restoreCi}. CI systems set it to their name, or leave it
 * empty, and node-llama-cpp, which reads it while it is imported, then ends with an error.
 */
export function hideCi(): void {
    if (users++ > 0) return;
    const { CI: value } = process.env;
    own = value === undefined || booleans.includes(value.toLowerCase()) ? undefined : value;
    if (own !== undefined) process.env.CI = own === "" ? "false" : "true";
}

export function restoreCi(): void {
    if (--users > 0 || own === undefined) return;
    process.env.CI = own;
    own = undefined;
}

/** Runs a call of node-llama-cpp that starts processes, which import it too. */
export async function withReadableCi<T>(call: () => Promise<T>): Promise<T> {
    hideCi();
    try {
        return await call();
    } finally {
        restoreCi();
    }
}
