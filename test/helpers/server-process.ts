import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { armtScript } from "./armt-command.js";
import type { Ending } from "./temporary.js";

export type ServerProcessOptions = {
    /** The test with which it ends. Default: it ends when it is stopped. */
    ending?: Ending;
    cwd?: string;
    env?: NodeJS.ProcessEnv;
};

/** An `armt serve` or `armt mcp --http` in a process of its own, on a free port. */
export class ServerProcess {
    private constructor(
        readonly child: ChildProcess,
        readonly url: string,
        /** All that it has printed so far. */
        readonly log: () => string
    ) {}

    /**
     * Waits until it listens.
     * @param args without a port and a number of threads
     */
    static start(args: readonly string[], { ending, ...options }: ServerProcessOptions = {}): Promise<ServerProcess> {
        const child = spawn(process.execPath, [armtScript, ...args, "--port", "0", "--threads", "1"], options);
        ending?.teardown(() => child.kill("SIGKILL"));
        return new Promise((resolve, reject) => {
            let log = "";
            for (const output of [child.stdout, child.stderr])
                output.setEncoding("utf8").on("data", (text: string) => {
                    log += text;
                    const [url] = /https?:\/\/\S+(?=\s)/.exec(log) ?? [];
                    if (url !== undefined) resolve(new ServerProcess(child, url, () => log));
                });
            child.on("error", reject);
            child.on("close", (code) => reject(new Error(`armt ${args[0]} ended with exit code ${code}: ${log}`)));
        });
    }

    /** @returns the exit code */
    async stop(): Promise<number | null> {
        const closed = once(this.child, "close");
        this.child.kill("SIGTERM");
        return (await closed)[0];
    }
}
