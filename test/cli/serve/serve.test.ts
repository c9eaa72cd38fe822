import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { convertCheckpoint } from "../../../src/convert/convert.js";
import { recallModelPath } from "../../../src/model/embedded-model.js";
import { makeTinyCheckpoint } from "../../../src/tiny/checkpoint.js";
import { armtScript, runArmt } from "../../helpers/armt-command.js";
import { writePlainModel } from "../../helpers/plain-model.js";
import { post, readEvents } from "../../helpers/server.js";
import { ServerProcess } from "../../helpers/server-process.js";
import { temporaryFolder } from "../../helpers/temporary.js";
import { until } from "../../helpers/until.js";

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

for (const signal of ["SIGTERM", "SIGINT"] as const)
    test.serial(`serve that still loads its model ends at ${signal}, with nothing left and exit code 0`, async (t) => {
        const folder = temporaryFolder(t);
        const checkpoint = path.join(folder, "checkpoint");
        await makeTinyCheckpoint(checkpoint, { layers: 4, hidden: 512, ffn: 2048, dMem: 64 });
        const model = path.join(folder, "model.gguf");
        await convertCheckpoint({ checkpoint, output: model, outType: "f32" });
        const args = [armtScript, "serve", model, "--port", "0", "--threads", "1", "--store-folder", folder];
        const before = readdirSync(folder);
        const child = spawn(process.execPath, args);
        t.teardown(() => child.kill("SIGKILL"));
        let log = "";
        child.stderr.on("data", (data) => {
            log += data;
        });
        const ended = once(child, "close");
        const maps = () => readFileSync(`/proc/${child.pid}/maps`, "utf8");
        await until(() => maps().includes(model), "the model is being loaded", 200);
        child.kill(signal);
        t.deepEqual(await ended, [0, null]);
        // neither an address nor an error
        t.is(log, "");
        t.deepEqual(readdirSync(folder), before);
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

test("several models are served by their names, which folders make different, and one leaves for another", async (t) => {
    const folder = temporaryFolder(t);
    const one = path.join(folder, "one.gguf");
    await writePlainModel(one);
    const many = path.join(folder, "many");
    for (const name of ["one", "two"]) {
        mkdirSync(path.join(many, "other"), { recursive: true });
        copyFileSync(one, path.join(many, `${name}.gguf`));
    }
    writeFileSync(path.join(many, "notes.txt"), "no model");
    const { child, url, log } = await startServer(t, [one, many, "--max-models", "1"]);
    const state = async () => {
        const { data } = (await (await fetch(`${url}/v1/models`)).json()) as {
            data: { id: string; status: { value: string } }[];
        };
        return Object.fromEntries(data.map(({ id, status }) => [id, status.value]));
    };
    const first = `${path.basename(folder)}/one`;
    t.deepEqual(await state(), { [first]: "unloaded", "many/one": "unloaded", two: "unloaded" });
    for (const model of ["two", "many/one"]) {
        const answer = await post(`${url}/v1/completions`, { prompt: "ab", max_tokens: 2, model });
        t.is(answer.json().model, model);
    }
    t.deepEqual(await state(), { [first]: "unloaded", "many/one": "loaded", two: "unloaded" });
    t.regex(log(), /"model":"two","ms":\d+,"msg":"model loaded"/);
    t.regex(log(), /"model":"two","msg":"model unloaded"/);
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
    child.kill("SIGTERM");
    t.is(await ended, 0);
});

test("unloaded models give their memory back", async (t) => {
    const folder = temporaryFolder(t);
    const names = ["a", "b", "c"];
    const checkpoint = path.join(folder, "checkpoint");
    await makeTinyCheckpoint(checkpoint, { layers: 4, hidden: 512, ffn: 2048, dMem: 64 });
    const file = path.join(folder, "a.gguf");
    await convertCheckpoint({ checkpoint, output: file, outType: "f32" });
    for (const name of names.slice(1)) copyFileSync(file, path.join(folder, `${name}.gguf`));
    const { child, url } = await startServer(t, [
        ...names.map((name) => path.join(folder, `${name}.gguf`)),
        "--max-models",
        "1"
    ]);
    // not of the file: its pages in memory are shared, and the system takes them back when it needs them
    const anonymous = () =>
        Number(/^RssAnon:\s*(\d+) kB/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]) / 1024;
    const ask = async (model: string) => {
        const { status } = await post(`${url}/v1/completions`, { prompt: "ab", max_tokens: 2, model });
        t.is(status, 200);
    };
    for (const model of names) await ask(model);
    const before = anonymous();
    const rounds = 4;
    for (let round = 0; round < rounds; round++) for (const model of names) await ask(model);
    const grown = (anonymous() - before) / (rounds * names.length);
    const { memory_bytes: bytes } = (
        (await (await fetch(`${url}/v1/models/c`)).json()) as { armt: { memory_bytes: number } }
    ).armt;
    t.log(`${grown.toFixed(2)} MiB a loading; four open states take ${((4 * bytes) / 2 ** 20).toFixed(2)} MiB`);
    t.true(grown < (4 * bytes) / 2 ** 20, `${grown.toFixed(2)} MiB a loading stay`);
});

test("serve refuses models that are named twice or are none, before it listens", async (t) => {
    const folder = temporaryFolder(t);
    const model = path.join(folder, "one.gguf");
    await writePlainModel(model);
    const broken = path.join(folder, "broken.gguf");
    writeFileSync(broken, "GGUF");
    const empty = path.join(folder, "empty");
    mkdirSync(empty);
    for (const [args, message] of [
        [[model, path.join(folder, ".", "one.gguf")], /named twice/],
        [[model, folder], /named twice/],
        [[model, broken], /broken\.gguf/],
        [[empty], /has no model file/],
        [[model, "--max-models", "0"], /--max-models/],
        [[model, path.join(folder, "none.gguf")], /none\.gguf/],
        [[model, recallModelPath, "--alias", "x"], /--alias/]
    ] as const) {
        const { code, stderr } = await runArmt(["serve", ...args, "--port", "0"]);
        t.not(code, 0, args.join(" "));
        t.regex(stderr, message);
    }
});

function startServer(t: ExecutionContext, args: string[]): Promise<ServerProcess> {
    return ServerProcess.start(["serve", ...args], { ending: t });
}

test("serve on all addresses prints those that a browser can open", async (t) => {
    const { url, log } = await startServer(t, ["--host", "0.0.0.0", "--api-key", "open sesame"]);
    t.regex(url, /^http:\/\/127\.0\.0\.1:\d+$/);
    t.notRegex(log(), /0\.0\.0\.0/);
    t.is((await fetch(url)).status, 200);
});

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
