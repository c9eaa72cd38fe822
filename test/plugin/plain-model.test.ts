import { existsSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { ArmtUnsupportedError, getLlama, type Llama, type Token } from "../../plugin/index.js";
import { availableCores } from "../../plugin/native/threads.js";
import { runNode } from "../helpers/armt-command.js";
import { writePlainModel } from "../helpers/plain-model.js";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";

let llama: Llama;
test.before(async () => {
    llama = await getLlama();
});
test.after.always(() => llama?.dispose());

/** A script that generates greedily with the `getLlama` of one of the two packages. */
const generate = (specifier: string, file: string) => `
    const { getLlama } = await import(${JSON.stringify(specifier)});
    const llama = await getLlama({ gpu: false, build: "never", maxThreads: 1 });
    const model = await llama.loadModel({ modelPath: ${JSON.stringify(file)} });
    const sequence = (await model.createContext({ contextSize: 128 })).getSequence();
    const tokens = [];
    const prompt = model.tokenize("Once upon a time");
    for await (const token of sequence.evaluate(prompt, { temperature: 0, yieldEogToken: true }))
        if (tokens.push(token) === 40) break;
    console.log(JSON.stringify(tokens));
    await llama.dispose();
`;

const plugin = path.join(repositoryRoot, "dist", "plugin", "index.js");

/**
 * Runs code from a file: node-llama-cpp starts processes with the same arguments, which must not run the code again.
 */
function runScript(t: ExecutionContext, code: string) {
    const script = path.join(temporaryFolder(t), "script.mjs");
    writeFileSync(script, code);
    return runNode([script]);
}

test("a plain model generates the same as with node-llama-cpp alone", async (t) => {
    const file = path.join(temporaryFolder(t), "plain.gguf");
    await writePlainModel(file);
    const alone = await runScript(t, generate(import.meta.resolve("node-llama-cpp"), file));
    const ours = await runScript(t, generate(plugin, file));
    t.is(alone.stderr, "");
    t.is(JSON.parse(alone.stdout).length, 40);
    t.deepEqual(ours, alone);
});

test("a plain model has no ARMT info, and refuses armt options", async (t) => {
    const file = path.join(temporaryFolder(t), "plain.gguf");
    await writePlainModel(file);
    const model = await llama.loadModel({ modelPath: file });
    t.is(model.armt, undefined);
    await t.throwsAsync(model.createContext({ armt: {} }), {
        instanceOf: ArmtUnsupportedError,
        message: /`armt` is for ARMT models, and plain\.gguf is a plain llama model/
    });
    const context = await model.createContext({ contextSize: 64 });
    const sequence = context.getSequence();
    t.is(context.armt, undefined);
    t.is(sequence.armt, undefined);
    await sequence.evaluateWithoutGeneratingNewTokens([1, 40, 41] as Token[]);
    t.is(sequence.nextTokenIndex, 3);
    await model.dispose();
});

test("the loaded library is the one with the engine", async (t) => {
    const { importBuildModule, loadEngine } = await import("../../plugin/native/library.js");
    const { packageRoot, resolveLayout } = await importBuildModule();
    const { addon, library } = await loadEngine(false);
    t.is(library, resolveLayout(packageRoot).library);
    t.is(addon.verify(), library);
    t.true(existsSync(library));
});

test("threads default to the available cores, and can be set", async (t) => {
    t.is(llama.maxThreads, availableCores());
    const other = await getLlama({ maxThreads: 3 });
    t.is(other.maxThreads, 3);
    await other.dispose();
});

test("node-llama-cpp's own library loaded first is detected", async (t) => {
    const { code, stderr } = await runScript(
        t,
        `
        const plain = await import(${JSON.stringify(import.meta.resolve("node-llama-cpp"))});
        await plain.getLlama({ gpu: false, build: "never" });
        await (await import(${JSON.stringify(plugin)})).getLlama();
    `
    );
    t.is(code, 1);
    t.regex(
        stderr,
        /ArmtNativeError: the plain \S+libllama\S+ is already loaded in this process.*call getLlama\(\) of/
    );
});
