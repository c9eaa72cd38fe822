import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type ProcessResult, runProcess } from "./process.js";
import { repositoryRoot } from "./repository.js";

export type CommandOptions = {
    /** Standard input. Default: empty. */
    input?: string | Uint8Array;
    /** Variables to add to those of this process. */
    env?: NodeJS.ProcessEnv;
};

/** The program `armt`. */
export const armtScript = path.join(repositoryRoot, "dist", "src", "cli", "main.js");

let cache: string | undefined;

/** Replaces the user's cache folder; removed when the tests of a file end. */
function cacheFolder(): string {
    if (cache === undefined) {
        const folder = mkdtempSync(path.join(tmpdir(), "armt-test-cache-"));
        process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
        cache = folder;
    }
    return cache;
}

/** Runs `armt` as a user does. */
export function runArmt(args: readonly string[], options: CommandOptions = {}): Promise<ProcessResult> {
    return runNode([armtScript, ...args], options);
}

/** Runs a script in a separate process. */
export function runNode(args: readonly string[], { input, env }: CommandOptions = {}): Promise<ProcessResult> {
    return runProcess(process.execPath, args, {
        input,
        env: { ...process.env, XDG_CACHE_HOME: cacheFolder(), ...env }
    });
}
