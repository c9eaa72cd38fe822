import { lstatSync, rmSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { importBuildModule } from "../../plugin/native/library.js";
import { FakePackage } from "../helpers/fake-package.js";
import { makeTools } from "../helpers/fake-tools.js";
import { cudaVariantTest } from "../helpers/needs.js";
import { temporaryFolder } from "../helpers/temporary.js";

const { BuildError, build, findCudaGpu, installedVariant, prebuiltRunsOn } = await importBuildModule();

cudaVariantTest("the CUDA variant is built alongside the CPU variant", async (t) => {
    const fake = new FakePackage(t);
    fake.installCuda();
    const { root, env } = fake;
    await build({ root, env });
    const { library, built } = await build({ root, env, gpu: "cuda", tuned: false });
    t.true(built);
    t.is(path.relative(root, library), "native/build/lib-cuda/libllama.cuda.v0.5.0.so");
    t.is(fake.read("native/build/lib-cuda/libllama.cuda.v0.5.0.so"), "plain\n");
    t.is(fake.library, "plain\n");
    t.false((await build({ root, env, gpu: "cuda", tuned: false })).built);
    t.false((await build({ root, env })).built);
});

cudaVariantTest("the tuned backend is built with its patches, next to links to the CPU backends", async (t) => {
    const fake = new FakePackage(t);
    fake.installCuda();
    const { root, env } = fake;
    const options = { root, env, gpu: "cuda", tuned: true, cudaArch: "90" } as const;
    fake.patch("ggml-cuda/0001-fusion.diff", "plain", "fused");
    await build(options);
    t.is(fake.read("native/build/lib-cuda/libggml-cuda.so"), "fused\n");
    t.true(lstatSync(path.join(root, "native/build/lib-cuda/libggml-cpu-x64.so")).isSymbolicLink());
    t.false((await build(options)).built);
    fake.write("native/cuda/kernels.cu", "// new");
    t.true((await build(options)).built);
});

cudaVariantTest("a missing requirement of the CUDA build is named", async (t) => {
    const fake = new FakePackage(t);
    const { root, env } = fake;
    const message = async (options: Parameters<typeof build>[0]) =>
        (await t.throwsAsync(build({ root, env, ...options }), { instanceOf: BuildError }))?.message;
    t.regex(String(await message({ gpu: "cuda" })), /prebuilt ggml libraries .*-cuda\) are not installed/);
    fake.installCuda();
    t.regex(String(await message({ gpu: "cuda", tuned: true })), /no NVIDIA GPU was found.*--cuda-arch 90/);
    t.regex(String(await message({ gpu: "cuda", tuned: true, cudaArch: "9.0" })), /"9\.0".*without its dot/);
    t.regex(String(await message({ tuned: true })), /need --gpu cuda/);
});

test("a card's driver decides whether the prebuilt backend runs on it", (t) => {
    const bin = temporaryFolder(t);
    const PATH = makeTools(bin, { "nvidia-smi": "NVIDIA H100 80GB HBM3, 580.159.04, 9.0" });
    const gpu = findCudaGpu({ PATH })!;
    t.deepEqual(gpu, { name: "NVIDIA H100 80GB HBM3", driver: "580.159.04", capability: "9.0", count: 1 });
    t.false(prebuiltRunsOn(gpu));
    t.true(prebuiltRunsOn({ ...gpu, driver: "590.44.01" }));
    t.true(prebuiltRunsOn({ ...gpu, capability: "8.9" }));
    t.is(findCudaGpu({ PATH: "" }), null);
});

cudaVariantTest("the CUDA variant is built if only it is installed", async (t) => {
    const fake = new FakePackage(t);
    fake.installCuda();
    const { root, env } = fake;
    t.is(installedVariant(root), false);
    fake.removeCpu();
    t.is(installedVariant(root), "cuda");
    const { built, library } = await build({ root, env });
    t.true(built);
    t.is(path.relative(root, library), "native/build/lib-cuda/libllama.cuda.v0.5.0.so");
    await t.throwsAsync(build({ root, env, gpu: false }), {
        instanceOf: BuildError,
        message:
            /@node-llama-cpp\/linux-x64\) are not installed.*or use the CUDA variant, which is installed.*--gpu cuda/
    });
    rmSync(path.join(root, "node_modules/@node-llama-cpp/linux-x64-cuda/bins/linux-x64-cuda/libggml-cuda.so"));
    await t.throwsAsync(build({ root, env }), {
        instanceOf: BuildError,
        message: /libggml-cuda\.so is missing from @node-llama-cpp\/linux-x64-cuda; reinstall/
    });
});
