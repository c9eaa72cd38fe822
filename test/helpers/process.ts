import { type SpawnOptions, spawn } from "node:child_process";

export type ProcessResult = {
    code: number | null;
    stdout: string;
    stderr: string;
    /** Both, in order of arrival. */
    output: string;
};

/** Runs a program to its end. */
export function runProcess(
    command: string,
    args: readonly string[],
    { input = "", ...options }: SpawnOptions & { input?: string | Uint8Array } = {}
): Promise<ProcessResult> {
    return new Promise((resolve, reject) => {
        const child = spawn(command, args, { ...options, stdio: "pipe" });
        const texts = { stdout: "", stderr: "", output: "" };
        for (const name of ["stdout", "stderr"] as const)
            child[name].setEncoding("utf8").on("data", (text: string) => {
                texts[name] += text;
                texts.output += text;
            });
        child.on("error", reject);
        child.on("close", (code) => resolve({ code, ...texts }));
        // a program that does not read its input may end before the input is written
        child.stdin.on("error", () => {});
        child.stdin.end(input);
    });
}
