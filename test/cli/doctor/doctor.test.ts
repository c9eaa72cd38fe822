import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { importBuildModule } from "../../../plugin/native/library.js";
import { type Check, checkInstallation } from "../../../src/cli/doctor/run.js";
import { runArmt } from "../../helpers/armt-command.js";
import { FakePackage } from "../../helpers/fake-package.js";
import { completeTools, makeTools } from "../../helpers/fake-tools.js";
import { cudaVariantTest } from "../../helpers/needs.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const { build } = await importBuildModule();

test("doctor finds everything that is needed to run the engine", async (t) => {
    const { code, stdout, stderr } = await runArmt(["doctor"]);
    t.is(stderr, "");
    t.is(code, 0);
    for (const name of [
        "Node.js",
        "platform",
        "cores",
        "packages",
        "build tools",
        "build",
        "engine",
        "CPU backend",
        "included model",
        "cache"
    ])
        t.regex(stdout, new RegExp(`^ok +${name} `, "m"));
    t.regex(stdout, /loaded from \S+libllama\S+\.so/);
    t.regex(stdout, /CPU backend +libggml-cpu-\w+\.so/);
});

test("doctor names all missing build tools at once, as a warning once the engine is built", async (t) => {
    const { "c++": _, cmake: __, ...tools } = completeTools;
    const PATH = makeTools(path.join(temporaryFolder(t), "bin"), tools);
    const { code, stdout } = await runArmt(["doctor"], { env: { PATH } });
    t.is(code, 0);
    t.regex(
        stdout,
        /^warning +build tools +a C\+\+17 compiler and CMake are missing; .*`apt-get install g\+\+ cmake`$/m
    );
    const json = await runArmt(["doctor", "--json"], { env: { PATH } });
    t.is(json.code, 0);
    const { ok, checks } = JSON.parse(json.stdout);
    t.true(ok);
    const found = checks.find(({ name }: Check) => name === "build tools");
    t.like(found, { state: "warning", command: "apt-get install g++ cmake" });
    t.is(checks.length, stdout.trimEnd().split("\n").length);
});

test("doctor reports a cache that it cannot write to", async (t) => {
    const file = path.join(temporaryFolder(t), "file");
    writeFileSync(file, "");
    const { code, stdout } = await runArmt(["doctor"], { env: { XDG_CACHE_HOME: file } });
    t.is(code, 0);
    t.regex(stdout, /^warning +cache +cannot write to \S+: a part of the path is not a folder; set XDG_CACHE_HOME/m);
});

test("doctor asks for no build where a prebuilt package is all there is", async (t) => {
    const root = temporaryFolder(t);
    const write = (file: string, content = "") => {
        mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
        writeFileSync(path.join(root, file), content);
    };
    const host = { platform: "win32", arch: "x64", glibc: "" };
    const look = async () => new Map((await checkInstallation({ root, host })).map((one) => [one.name, one]));
    write(
        "package.json",
        JSON.stringify({ name: "armt-test", version: "1.2.3", dependencies: { "node-llama-cpp": "3.22.1" } })
    );
    const before = (await look()).get("packages");
    t.is(before?.state, "broken");
    t.regex(String(before?.detail), /node-llama-cpp is not installed; run/);

    const ours = "node_modules/@armt-test/win-x64";
    write("node_modules/node-llama-cpp/package.json", JSON.stringify({ version: "3.22.1" }));
    write("node_modules/node-llama-cpp/llama/binariesGithubRelease.json", JSON.stringify({ release: "v9" }));
    write("node_modules/@node-llama-cpp/win-x64/package.json", "{}");
    for (const file of ["ggml-base.dll", "ggml.v9.dll"])
        write(`node_modules/@node-llama-cpp/win-x64/bins/win-x64/${file}`);
    write(`${ours}/package.json`, JSON.stringify({ name: "@armt-test/win-x64", version: "1.2.3" }));
    for (const file of ["armt.node", "llama.v9.dll"]) write(`${ours}/bins/${file}`);
    const after = await look();
    t.is(after.get("packages")?.state, "ok");
    t.true(after.get("packages")?.detail.includes(path.join(...ours.split("/"), "bins")));
    t.false(after.has("build tools"));
});

cudaVariantTest(
    "doctor accepts a complete, built CUDA variant with a card, and otherwise names what it lacks",
    async (t) => {
        const fake = new FakePackage(t);
        fake.installCuda();
        fake.removeCpu();
        const { root } = fake;
        const withSmi = (line: string) => ({
            ...fake.env,
            PATH: `${makeTools(temporaryFolder(t), { "nvidia-smi": line })}:${fake.env.PATH}`
        });
        const env = withSmi("NVIDIA H100 80GB HBM3, 590.44.01, 9.0");
        const look = async (environment: NodeJS.ProcessEnv) =>
            new Map((await checkInstallation({ root, env: environment })).map(({ name, ...rest }) => [name, rest]));

        const before = await look(env);
        t.is(before.get("packages")?.state, "ok");
        t.regex(String(before.get("packages")?.detail), /the CUDA variant alone, so models run with `--gpu cuda` only/);
        t.is(before.get("build")?.state, "broken");
        t.regex(String(before.get("build")?.detail), /npx armt build/);
        t.is(before.get("GPU")?.state, "broken");

        await build({ root, env: fake.env });
        const built = await look(env);
        for (const name of ["packages", "build tools", "build", "GPU"]) t.is(built.get(name)?.state, "ok", name);
        t.regex(String(built.get("GPU")?.detail), /NVIDIA H100.*prebuilt backend/);
        t.notRegex(String(built.get("GPU")?.detail), /GGML_CUDA_P2P/);

        const two = withSmi(Array(2).fill("NVIDIA H100 80GB HBM3, 590.44.01, 9.0").join("\n"));
        t.regex(String((await look(two)).get("GPU")?.detail), /2 GPUs.* through .*: with GGML_CUDA_P2P=1/);
        const direct = await look({ ...two, GGML_CUDA_P2P: "1" });
        t.regex(String(direct.get("GPU")?.detail), /2 GPUs.* directly .* GGML_CUDA_P2P is set/);

        const noCard = await look(withSmi(""));
        t.is(noCard.get("GPU")?.state, "broken");
        t.regex(
            String(noCard.get("GPU")?.detail),
            /the CPU variant of node-llama-cpp is not installed; run `npm install --include=optional node-llama-cpp@3\.22\.1`/
        );

        rmSync(
            path.join(root, "node_modules/@node-llama-cpp/linux-x64-cuda/bins/linux-x64-cuda/libggml.cuda.v0.5.0.so")
        );
        const cut = await look(env);
        t.is(cut.get("packages")?.state, "broken");
        t.regex(String(cut.get("packages")?.detail), /libggml\.cuda\.v0\.5\.0\.so is missing/);
    }
);
