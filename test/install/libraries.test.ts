import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { importBuildModule } from "../../plugin/native/library.js";
import { temporaryFolder } from "../helpers/temporary.js";

const { BuildError, findLibraries } = await importBuildModule();

type Machine = { platform: string; arch: string; glibc: string };

/** A package with node-llama-cpp's libraries for a platform and, unless omitted, our prebuilt package. */
function install(t: ExecutionContext, { bins, ggml, prebuilt }: { bins: string; ggml: string[]; prebuilt?: string[] }) {
    const root = temporaryFolder(t);
    const write = (file: string, content = "") => {
        mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
        writeFileSync(path.join(root, file), content);
    };
    write(
        "package.json",
        JSON.stringify({ name: "armt-test", version: "1.2.3", dependencies: { "node-llama-cpp": "3.22.1" } })
    );
    write("node_modules/node-llama-cpp/package.json", JSON.stringify({ version: "3.22.1" }));
    write("node_modules/node-llama-cpp/llama/gitRelease.bundle");
    write("node_modules/node-llama-cpp/llama/binariesGithubRelease.json", JSON.stringify({ release: "v9" }));
    write(`node_modules/@node-llama-cpp/${bins}/package.json`, "{}");
    for (const file of ggml) write(`node_modules/@node-llama-cpp/${bins}/bins/${bins}/${file}`);
    if (prebuilt === undefined) return root;
    write(
        `node_modules/@armt-test/${bins}/package.json`,
        JSON.stringify({ name: `@armt-test/${bins}`, version: "1.2.3" })
    );
    for (const file of prebuilt) write(`node_modules/@armt-test/${bins}/bins/${file}`);
    return root;
}

const linux: Machine = { platform: "linux", arch: "x64", glibc: "2.36" };
const linuxFiles = {
    bins: "linux-x64",
    ggml: ["libggml-base.so", "libggml.v9.so"],
    prebuilt: ["armt.node", "libllama.v9.so"]
};

const packaged = test.macro({
    exec(t, platform: string, arch: string, files: { bins: string; ggml: string[]; prebuilt: string[] }) {
        const root = install(t, files);
        const { addon, ggmlBase, ggml, llama, origin } = findLibraries(root, { platform, arch, glibc: "2.36" });
        t.is(origin, "package");
        t.deepEqual(
            [addon, llama, ggmlBase, ggml].map((file) => path.basename(file)),
            [...files.prebuilt, ...files.ggml]
        );
        t.true(llama.endsWith(path.join("@armt-test", files.bins, "bins", files.prebuilt[1]!)));
        t.true(ggml.endsWith(path.join("@node-llama-cpp", files.bins, "bins", files.bins, files.ggml[1]!)));
    },
    title: (_, platform, arch) => `a prebuilt package is found by the file names of ${platform}-${arch}`
});

test(packaged, "linux", "x64", linuxFiles);
test(packaged, "linux", "arm64", { ...linuxFiles, bins: "linux-arm64" });
test(packaged, "darwin", "arm64", {
    bins: "mac-arm64-metal",
    ggml: ["libggml-base.dylib", "libggml.metal.v9.dylib"],
    prebuilt: ["armt.node", "libllama.metal.v9.dylib"]
});
test(packaged, "darwin", "x64", {
    bins: "mac-x64",
    ggml: ["libggml-base.dylib", "libggml.v9.dylib"],
    prebuilt: ["armt.node", "libllama.v9.dylib"]
});
test(packaged, "win32", "x64", {
    bins: "win-x64",
    ggml: ["ggml-base.dll", "ggml.v9.dll"],
    prebuilt: ["armt.node", "llama.v9.dll"]
});

test("the prebuilt package of a GPU's variant has its libllama alone, next to the platform's package", (t) => {
    const root = install(t, linuxFiles);
    const write = (file: string, content = "") => {
        mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
        writeFileSync(path.join(root, file), content);
    };
    const find = () => findLibraries(root, linux, "vulkan");
    const ggml = "node_modules/@node-llama-cpp/linux-x64-vulkan";
    write(`${ggml}/package.json`, "{}");
    for (const file of ["libggml-base.so", "libggml.vulkan.v9.so", "libggml-vulkan.so"])
        write(`${ggml}/bins/linux-x64-vulkan/${file}`);
    t.throws(find, { instanceOf: BuildError, message: /not built yet; run `npx armt build --gpu vulkan`/ });

    const ours = "node_modules/@armt-test/linux-x64-vulkan";
    write(`${ours}/package.json`, JSON.stringify({ name: "@armt-test/linux-x64-vulkan", version: "1.2.3" }));
    write(`${ours}/bins/libllama.vulkan.v9.so`);
    const found = find();
    t.is(found.gpu, "vulkan");
    t.true(found.llama.endsWith(path.join(ours, "bins/libllama.vulkan.v9.so")));
    t.true(found.ggml.endsWith("libggml.vulkan.v9.so"));
    t.true(found.addon.endsWith(path.join("@armt-test/linux-x64/bins/armt.node")));
});

test("a local build takes precedence over a prebuilt package", (t) => {
    const root = install(t, linuxFiles);
    for (const file of ["native/build/lib/libllama.v9.so", "native/build/armt.node"]) {
        mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
        writeFileSync(path.join(root, file), "");
    }
    const { origin, llama } = findLibraries(root, linux);
    t.is(origin, "build");
    t.is(llama, path.join(root, "native", "build", "lib", "libllama.v9.so"));
});

const refused = test.macro({
    exec(t, _what: string, machine: Machine, prepare: (t: ExecutionContext) => string, message: RegExp) {
        const root = prepare(t);
        const error = t.throws(() => findLibraries(root, machine), { instanceOf: BuildError, message });
        t.false(error.message.includes("\n"));
    },
    title: (_, what) => `${what} is an error that says what to do`
});

const mac: Machine = { platform: "darwin", arch: "x64", glibc: "" };
test(
    refused,
    "neither build nor package",
    linux,
    (t) => install(t, { ...linuxFiles, prebuilt: undefined }),
    /run `npx armt build`/
);
test(
    refused,
    "neither build nor package on a Mac",
    mac,
    (t) => install(t, { bins: "mac-x64", ggml: ["libggml-base.dylib", "libggml.v9.dylib"] }),
    /run `npx armt build`/
);
test(
    refused,
    "an unknown platform",
    { ...mac, platform: "sunos" },
    (t) => install(t, linuxFiles),
    /sunos-x64 is not supported/
);
test(
    refused,
    "a prebuilt package of another version",
    linux,
    (t) => {
        const root = install(t, linuxFiles);
        const file = path.join(root, "node_modules/@armt-test/linux-x64/package.json");
        writeFileSync(file, JSON.stringify({ name: "@armt-test/linux-x64", version: "1.2.2" }));
        return root;
    },
    /1\.2\.2 is installed, this is 1\.2\.3; run `npm install @armt-test\/linux-x64@1\.2\.3`/
);
test(
    refused,
    "a prebuilt package for another llama.cpp",
    linux,
    (t) => install(t, { ...linuxFiles, prebuilt: ["armt.node", "libllama.v8.so"] }),
    /libllama\.v9\.so is missing; reinstall/
);
test(
    refused,
    "a prebuilt package without node-llama-cpp's",
    mac,
    (t) => {
        const root = install(t, { ...linuxFiles, bins: "mac-x64" });
        rmSync(path.join(root, "node_modules/@node-llama-cpp"), { recursive: true });
        return root;
    },
    /\(@node-llama-cpp\/mac-x64\) are not installed/
);
