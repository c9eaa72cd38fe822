import { spawn } from "node:child_process";
import path from "node:path";
import test from "ava";
import { runArmt } from "../helpers/armt-command.js";
import { writePlainModel } from "../helpers/plain-model.js";
import { repositoryRoot } from "../helpers/repository.js";
import { post } from "../helpers/server.js";
import { temporaryFolder } from "../helpers/temporary.js";

test("serve answers until SIGTERM, finishes what is there and logs no prompt", async (t) => {
    const model = path.join(temporaryFolder(t), "small.gguf");
    await writePlainModel(model);
    const cli = path.join(repositoryRoot, "dist", "src", "cli", "main.js");
    const child = spawn(process.execPath, [
        cli,
        "serve",
        "-m",
        model,
        "--port",
        "0",
        "--threads",
        "1",
        "--log-level",
        "debug"
    ]);
    t.teardown(() => child.kill("SIGKILL"));
    let log = "";
    const url = await new Promise<string>((resolve, reject) => {
        child.on("exit", () => reject(new Error(log)));
        child.stderr.on("data", (data) => {
            log += data;
            const found = /http:\/\/[\d.:]+/.exec(log)?.[0];
            if (found !== undefined) resolve(found);
        });
    });
    const answer = post(`${url}/v1/completions`, {
        prompt: "secret words",
        max_tokens: 100,
        logit_bias: { "2": -100 }
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
    child.kill("SIGTERM");
    t.is((await answer).status, 200);
    t.is(await ended, 0);
    t.regex(log, /"path":"\/v1\/completions"/);
    t.notRegex(log, /secret|Bearer/);
});

test("serve refuses what would be unsafe or cannot be", async (t) => {
    for (const [args, message] of [
        [["--host", "0.0.0.0"], /--api-key/],
        [["--api-key", ""], /empty/],
        [["--port", "70000"], /65535/],
        [["--parallel", "0"], /--parallel/]
    ] as const) {
        const { code, stderr } = await runArmt(["serve", "none.gguf", ...args]);
        t.not(code, 0);
        t.regex(stderr, message);
    }
});
