import { spawn } from "node:child_process";
import path from "node:path";
import { repositoryRoot } from "./repository.js";

export type CommandResult = { code: number | null; stdout: string; stderr: string };

export type CommandOptions = {
    /** Standard input. Default: empty. */
    input?: string;
    /** Variables over those of this process. */
    env?: NodeJS.ProcessEnv;
};

/** Runs `armt` as a user does. */
export function runArmt(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runNode([path.join(repositoryRoot, "dist", "src", "cli", "main.js"), ...args], options);
}

/** Runs a script in a process of its own. */
export function runNode(args: readonly string[], { input = "", env }: CommandOptions = {}): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
        const child = spawn(process.execPath, args, { env: { ...process.env, ...env } });
        let stdout = "";
        let stderr = "";
        child.stdout.setEncoding("utf8").on("data", (text: string) => {
            stdout += text;
        });
        child.stderr.setEncoding("utf8").on("data", (text: string) => {
            stderr += text;
        });
        child.on("error", reject);
        child.on("close", (code) => resolve({ code, stdout, stderr }));
        child.stdin.end(input);
    });
}
