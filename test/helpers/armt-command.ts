import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { type ProcessResult, runProcess } from "./process.js";
import { repositoryRoot } from "./repository.js";

export type CommandOptions = {
    /** Standard input. Default: empty. */
    input?: string;
    /** Variables over those of this process. */
    env?: NodeJS.ProcessEnv;
};

let cache: string | undefined;

/** In the place of the user's own, and gone when the tests of a file are through. */
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
    return runNode([path.join(repositoryRoot, "dist", "src", "cli", "main.js"), ...args], options);
}

/** Runs a script in a process of its own. */
export function runNode(args: readonly string[], { input, env }: CommandOptions = {}): Promise<ProcessResult> {
    return runProcess(process.execPath, args, {
        input,
        env: { ...process.env, XDG_CACHE_HOME: cacheFolder(), ...env }
    });
}
