import { rmSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { cudaState } from "../../plugin/native/cuda-state.js";
import { importBuildModule } from "../../plugin/native/library.js";
import { gpuForArmt, wantedGpu } from "../../src/model/gpu.js";
import { runArmt } from "../helpers/armt-command.js";
import { FakePackage } from "../helpers/fake-package.js";
import { makeTools } from "../helpers/fake-tools.js";
import { cudaVariantTest } from "../helpers/needs.js";
import { writePlainModel } from "../helpers/plain-model.js";
import { temporaryFolder } from "../helpers/temporary.js";

const { build } = await importBuildModule();

/** Without a card, whatever the machine has. */
const noCard = { PATH: "" };

/** The variable that a machine with this card sets; the card needs the tuned backend with the older driver. */
function withCard(t: Parameters<typeof temporaryFolder>[0], driver: string): NodeJS.ProcessEnv {
    return { PATH: makeTools(temporaryFolder(t), { "nvidia-smi": `NVIDIA H100 80GB HBM3, ${driver}, 9.0` }) };
}

test("the option goes before the environment variable, and the CPU is the default", (t) => {
    t.deepEqual(wantedGpu("cuda", { NODE_LLAMA_CPP_GPU: "vulkan" }), { gpu: "cuda", said: "--gpu cuda" });
    t.deepEqual(wantedGpu("off", { NODE_LLAMA_CPP_GPU: "cuda" }), { gpu: false, said: "--gpu off" });
    t.is(wantedGpu(undefined, { NODE_LLAMA_CPP_GPU: "cuda" }).gpu, "cuda");
    for (const off of ["off", "false", "none", "disable", "disabled", ""])
        t.is(wantedGpu(undefined, { NODE_LLAMA_CPP_GPU: off }).gpu, false);
    t.is(wantedGpu(undefined, {}).gpu, false);
    t.throws(() => wantedGpu(undefined, { NODE_LLAMA_CPP_GPU: "nvidia" }), {
        message: /NODE_LLAMA_CPP_GPU is "nvidia"; it must be one of auto, cuda, vulkan, metal, off/
    });
});

const commands = [
    ["run", "-p", "a"],
    ["read", "no-such.txt", "-o", "no-such.armt"],
    ["ask", "no-such.armt", "Who?"],
    ["eval", "recall"],
    ["eval", "perplexity", "no-such.txt"],
    ["eval", "babilong", "no-such"],
    ["serve"],
    ["trace"],
    ["demo"],
    ["logits", "no-such.gguf", "--tokens", "ids.json", "--out", "o"],
    ["bench"]
];
for (const command of commands)
    test(`a GPU that does not exist is named with those that do: armt ${command.join(" ")}`, async (t) => {
        const { code, stdout, stderr } = await runArmt([...command, "--gpu", "nvidia"]);
        t.is(code, 2);
        t.is(stdout, "");
        t.regex(stderr, /^armt: [^\n]+\n$/);
        t.regex(stderr, /gpu.*"nvidia".*"auto", "cuda", "vulkan", "metal", "off"/);
    });

test("--gpu given twice is refused", async (t) => {
    const { code, stderr } = await runArmt(["run", "-p", "a", "--gpu", "off", "--gpu", "cuda"]);
    t.is(code, 2);
    t.regex(stderr, /--gpu is given more than once/);
});

for (const command of [["demo"], ["bench"], ["run", "-p", "a"]])
    test(`a GPU that ARMT models cannot use is refused before anything starts: armt ${command.join(" ")}`, async (t) => {
        const { code, stdout, stderr } = await runArmt([...command, "--threads", "1", "--gpu", "metal"]);
        t.is(code, 1);
        t.is(stdout, "");
        t.regex(
            stderr,
            // no Linux has Metal
            /^armt: --gpu metal: linux-\w+ is not supported in the Metal variant.*armt doctor/
        );
    });

test("a plain model says so too where its GPU is not there, and runs without", async (t) => {
    const file = path.join(temporaryFolder(t), "plain.gguf");
    await writePlainModel(file);
    const args = ["run", file, "-p", "a", "-n", "1", "--threads", "1"];
    // no Linux has Metal, and node-llama-cpp would take another GPU
    const missing = await runArmt([...args, "--gpu", "metal"]);
    t.is(missing.code, 1);
    t.regex(
        missing.stderr,
        /--gpu metal: node-llama-cpp cannot use metal on this machine.*armt doctor.*armt build --gpu cuda/
    );
    for (const off of [["--gpu", "off"], ["--no-gpu"]]) t.is((await runArmt([...args, ...off])).code, 0);
});

cudaVariantTest("what cuda lacks is said step by step", async (t) => {
    const { root } = new FakePackage(t);
    const wish = wantedGpu("cuda");
    const message = async (environment: NodeJS.ProcessEnv) =>
        String((await t.throwsAsync(gpuForArmt(wish, { root, env: environment })))?.message);
    t.regex(await message(noCard), /^--gpu cuda: no NVIDIA GPU.* was found, and .*linux-x64-cuda\) are not installed/);
    const fake = new FakePackage(t);
    fake.installCuda();
    const machine = { root: fake.root, env: withCard(t, "590.44.01") };
    await t.throwsAsync(gpuForArmt(wish, machine), {
        message: /^--gpu cuda: the engine is not built for CUDA; run `armt build --gpu cuda`; `armt doctor` says more$/
    });
    await build({ root: fake.root, env: fake.env, gpu: "cuda", tuned: false });
    t.is(await gpuForArmt(wish, machine), "cuda");
    t.is(await gpuForArmt(wish, { ...machine, env: withCard(t, "999.1") }), "cuda");
    await t.throwsAsync(gpuForArmt(wish, { ...machine, env: withCard(t, "580.1") }), {
        message: /--gpu cuda: the prebuilt backend has no machine code for this GPU.*--tuned/
    });
    rmSync(path.join(fake.root, "native", "build"), { recursive: true });
    t.regex(String((await cudaState(machine)).problem), /not built for CUDA/);
});

cudaVariantTest("the CUDA variant is enough for cuda", async (t) => {
    const fake = new FakePackage(t);
    fake.installCuda();
    fake.removeCpu();
    await build({ root: fake.root, env: fake.env });
    const machine = { root: fake.root, env: withCard(t, "590.44.01") };
    t.is(await gpuForArmt(wantedGpu("cuda"), machine), "cuda");
    t.is(await gpuForArmt(wantedGpu("auto"), machine), "cuda");
});

cudaVariantTest("auto is a card that the engine is built for, or the CPU", async (t) => {
    const fake = new FakePackage(t);
    fake.installCuda();
    const wish = wantedGpu("auto");
    const machine = { root: fake.root, env: withCard(t, "590.44.01") };
    t.is(await gpuForArmt(wish, machine), false);
    await build({ root: fake.root, env: fake.env, gpu: "cuda", tuned: false });
    t.is(await gpuForArmt(wish, machine), "cuda");
    t.is(await gpuForArmt(wish, { ...machine, env: noCard }), false);
    t.is(await gpuForArmt(wish, { ...machine, env: withCard(t, "580.1") }), false);
});
