import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";
import { repositoryRoot } from "../repository.js";

const cli = path.join(repositoryRoot, "dist", "src", "cli", "main.js");

/** The address on the pages, which tests replace with a free port. */
export const namedAddress = "127.0.0.1:8080";

/** A running `armt serve` on a free port. */
export class ServeProcess {
    private constructor(
        private readonly child: ChildProcess,
        readonly address: string
    ) {}

    /** @param args the arguments on the page, without a port */
    static start(args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = process.env): Promise<ServeProcess> {
        const child = spawn(process.execPath, [cli, ...args, "--port", "0", "--threads", "1"], { cwd, env });
        return new Promise((resolve, reject) => {
            let output = "";
            const listen = (data: Buffer) => {
                output += String(data);
                const [, port] = /https?:\/\/[^\s"]*?:(\d+)/.exec(output) ?? [];
                if (port !== undefined) resolve(new ServeProcess(child, `127.0.0.1:${port}`));
            };
            child.stdout.on("data", listen);
            child.stderr.on("data", listen);
            child.on("error", reject);
            child.on("close", (code) => reject(new Error(`armt serve ended with exit code ${code}: ${output}`)));
        });
    }

    /** @returns the exit code */
    stop(): Promise<number | null> {
        return new Promise((resolve) => {
            this.child.on("close", resolve);
            this.child.kill("SIGTERM");
        });
    }
}
