import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { runArmt } from "../../helpers/armt-command.js";
import { writePlainModel } from "../../helpers/plain-model.js";
import { repositoryRoot } from "../../helpers/repository.js";
import { post, readEvents } from "../../helpers/server.js";
import { temporaryFolder } from "../../helpers/temporary.js";

test("serve answers until SIGTERM, finishes running requests and logs no prompt", async (t) => {
    const model = path.join(temporaryFolder(t), "small.gguf");
    await writePlainModel(model);
    const { child, url, log } = await startServer(t, ["-m", model, "--log-level", "debug"]);
    const body = { prompt: "secret words", max_tokens: 100, logit_bias: { "2": -100 }, stream: true };
    const request = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    // comes with the first event, so that the answer is under way
    const answer = await fetch(`${url}/v1/completions`, request);
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
    child.kill("SIGTERM");
    const { events, done } = readEvents(await answer.text());
    t.true(done);
    t.like(events.at(-1), { choices: [{ finish_reason: "length" }] });
    t.is(await ended, 0);
    t.regex(log(), /"path":"\/v1\/completions"/);
    t.notRegex(log(), /secret|Bearer/);
});

test("serve uses the package's model by default, under its name and with its sample", async (t) => {
    const { url } = await startServer(t, []);
    const prompt = "Katan painted the wagon crimson.\nQuestion: What colour is the wagon?\nAnswer:";
    const response = await post(`${url}/v1/completions`, { prompt, max_tokens: 4, temperature: 0 });
    t.is(response.status, 200);
    const { choices } = (await response.json()) as { choices: { text: string }[] };
    t.is(choices[0]!.text, " crimson");
    const { data } = (await (await fetch(`${url}/v1/models`)).json()) as {
        data: [{ id: string; description: string; armt: { sample: { questions: string[] } } }];
    };
    t.is(data[0].id, "armt-recall");
    t.regex(data[0].description, /answers short questions/);
    const sample = await (await fetch(`${url}/v1/armt/sample`)).text();
    t.true(sample.length > 50_000);
    t.true(data[0].armt.sample.questions.length >= 5);
    const cards = await fetch(`${url}/document-card.js`);
    t.regex(cards.headers.get("content-type")!, /javascript/);
    for (const name of ["marked", "dompurify"]) t.is((await fetch(`${url}/vendor/${name}.js`)).status, 200);
});

/** Starts `armt serve` and waits for its address. */
async function startServer(
    t: ExecutionContext,
    args: string[]
): Promise<{ child: ChildProcess; url: string; log: () => string }> {
    const cli = path.join(repositoryRoot, "dist", "src", "cli", "main.js");
    const child = spawn(process.execPath, [cli, "serve", ...args, "--port", "0", "--threads", "1"]);
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
    return { child, url, log: () => log };
}

test("serve refuses unsafe and impossible options", async (t) => {
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
