import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { knownModels, memoryPath } from "../../../plugin/model/known-models.js";
import { cachedModelPath, listModels, removeModel, resolveModel } from "../../../plugin/model/model-cache.js";
import { pullModel } from "../../../src/cli/pull/pull-model.js";
import { validateArmtModel } from "../../../src/formats/gguf/armt-model.js";
import { runArmt } from "../../helpers/armt-command.js";
import { temporaryFolder } from "../../helpers/temporary.js";
import { makeTrained } from "../../helpers/trained-memory.js";

const name = "smollm2-135m";

/** A cache folder of the test's own, for code in this process. */
function useCache(t: ExecutionContext): string {
    const before = process.env.XDG_CACHE_HOME;
    const folder = temporaryFolder(t);
    process.env.XDG_CACHE_HOME = folder;
    t.teardown(() => {
        if (before === undefined) delete process.env.XDG_CACHE_HOME;
        else process.env.XDG_CACHE_HOME = before;
    });
    return folder;
}

test.serial("a pulled model is there by its name until it is removed", async (t) => {
    const cache = useCache(t);
    const trained = await makeTrained(t, { modules: ["self_attn.q_proj"], container: "gguf" });
    t.throws(() => resolveModel(name), {
        name: "ArmtError",
        message: /not on this machine yet.*armt pull smollm2-135m/
    });
    const pulled = await pullModel(name, { base: trained.base, memory: trained.memory });
    t.deepEqual(pulled, { path: path.join(cache, `node-llama-cpp-armt/models/${name}.gguf`), isNew: true });
    t.is((await validateArmtModel(pulled.path)).name, name);
    t.true(existsSync(trained.base));
    t.is(resolveModel(name), pulled.path);
    t.deepEqual(await listModels(), [{ name, size: readFileSync(pulled.path).length, path: pulled.path }]);
    t.deepEqual(await pullModel(name, { base: "nowhere.gguf" }), { path: pulled.path, isNew: false });

    const env = { XDG_CACHE_HOME: cache };
    const listed = await runArmt(["models"], { env });
    t.regex(listed.stdout, new RegExp(`^${name} +\\S+ MiB +\\S+${name}\\.gguf$`, "m"));
    const inspected = await runArmt(["inspect", name], { env });
    t.regex(inspected.stdout, /trained for +"Tiny"/);
    const ids = path.join(cache, "ids.json");
    writeFileSync(ids, "[1, 2, 3]");
    const run = await runArmt(["run", "-m", name, "--tokens", ids, "-n", "1", "--json", "--threads", "1"], { env });
    t.is(run.code, 0, run.stderr);
    const removed = await runArmt(["models", "rm", name], { env });
    t.is(removed.code, 0, removed.stderr);
    t.false(existsSync(pulled.path));
    const again = await runArmt(["models", "rm", name], { env });
    t.is(again.code, 1);
    t.regex(again.stderr, /no model "smollm2-135m" in/);
    await t.throwsAsync(removeModel("../x"), { message: /no model "\.\.\/x"/ });
});

test.serial("another base leaves an existing model as it was", async (t) => {
    useCache(t);
    const trained = await makeTrained(t, { modules: [], container: "gguf" });
    const other = await makeTrained(t, { modules: [], tiny: { seed: 2 } });
    const { path: model } = await pullModel(name, { base: trained.base, memory: trained.memory });
    const before = readFileSync(model);
    await t.throwsAsync(pullModel(name, { base: other.base, memory: trained.memory, force: true }), {
        message: /`fingerprint\.norms`/
    });
    t.true(readFileSync(model).equals(before));
    t.is((await listModels()).length, 1);
});

test.serial("names that are not known list those that are", async (t) => {
    const cache = useCache(t);
    for (const args of [
        ["pull", "gpt5"],
        ["inspect", "gpt5"]
    ]) {
        const { code, stderr } = await runArmt(args, { env: { XDG_CACHE_HOME: cache } });
        t.is(code, 1);
        t.regex(stderr, /"gpt5".*known (?:are|names are) smollm2-135m/);
    }
});

test.serial("a file is a file, whatever its name", (t) => {
    useCache(t);
    t.is(resolveModel("./smollm2-135m"), "./smollm2-135m");
    t.is(resolveModel("model.gguf"), "model.gguf");
    mkdirSync(path.dirname(cachedModelPath(name)), { recursive: true });
    writeFileSync(cachedModelPath(name), "");
    t.is(resolveModel(name), cachedModelPath(name));
});

test.serial("a package without the memory says so", async (t) => {
    useCache(t);
    const memory = path.join(temporaryFolder(t), "none.gguf");
    await t.throwsAsync(pullModel(name, { base: "base.gguf", memory }), {
        message: /has no memory for "smollm2-135m" \(".*none\.gguf" is missing\); update/
    });
    t.regex(memoryPath(knownModels[0]!), /assets\/memories\/smollm2-135m\.gguf$/);
});

test.serial("without a network, the error says how to use --base", async (t) => {
    useCache(t);
    const { memory } = await makeTrained(t, { modules: [], container: "gguf" });
    const fetch = globalThis.fetch;
    globalThis.fetch = () => Promise.reject(new TypeError("fetch failed"));
    t.teardown(() => {
        globalThis.fetch = fetch;
    });
    await t.throwsAsync(pullModel(name, { memory }), {
        name: "ArmtError",
        message: /cannot download hf:QuantFactory\/.*armt pull smollm2-135m --base FILE/
    });
    t.deepEqual(await listModels(), []);
});
