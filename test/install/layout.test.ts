import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { importBuildModule } from "../../plugin/native/library.js";
import { ordinaryVariant } from "../../plugin/native/variants.js";
import { temporaryFolder } from "../helpers/temporary.js";

const { BuildError, defaultVariant, resolveLayout } = await importBuildModule();

const host = { platform: "linux", arch: "x64", glibc: "2.36" };

/** A package folder with all its files, which are empty. */
function makePackage(t: ExecutionContext): string {
    const root = temporaryFolder(t);
    const write = (file: string, content: string) => {
        mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
        writeFileSync(path.join(root, file), content);
    };
    const prebuilt = "node_modules/@node-llama-cpp/linux-x64";
    write("package.json", JSON.stringify({ dependencies: { "node-llama-cpp": "3.22.1" } }));
    write("node_modules/node-llama-cpp/package.json", JSON.stringify({ version: "3.22.1" }));
    write("node_modules/node-llama-cpp/llama/gitRelease.bundle", "");
    write("node_modules/node-llama-cpp/llama/binariesGithubRelease.json", JSON.stringify({ release: "v0.5.0" }));
    write(`${prebuilt}/package.json`, JSON.stringify({ version: "3.22.1" }));
    for (const name of ["libggml-base.so", "libggml.v0.5.0.so"]) write(`${prebuilt}/bins/linux-x64/${name}`, "");
    return root;
}

test("every path follows from what is installed", (t) => {
    const root = makePackage(t);
    const layout = resolveLayout(root, host);
    t.is(layout.library, path.join(root, "native/build/lib/libllama.v0.5.0.so"));
    t.is(layout.addon, path.join(root, "native/build/armt.node"));
    t.true(layout.prebuiltDir.endsWith("@node-llama-cpp/linux-x64/bins/linux-x64"));
});

const broken = test.macro({
    exec(t, _what: string, damage: (root: string) => void, message: RegExp, machine: typeof host = host) {
        const root = makePackage(t);
        damage(root);
        const error = t.throws(() => resolveLayout(root, machine), { instanceOf: BuildError, message });
        t.false(error.message.includes("\n"));
    },
    title: (_, what) => `${what} is an error that says what to do`
});

const remove = (file: string) => (root: string) => rmSync(path.join(root, file), { recursive: true });
const nothing = () => {};

test(
    broken,
    "a missing node-llama-cpp",
    remove("node_modules/node-llama-cpp"),
    /node-llama-cpp is not installed; run `npm install node-llama-cpp@3\.22\.1`/
);
test(
    broken,
    "another version of node-llama-cpp",
    (root) => writeFileSync(path.join(root, "node_modules/node-llama-cpp/package.json"), '{"version": "3.23.0"}'),
    /3\.23\.0 is installed.*3\.22\.1 only/
);
test(
    broken,
    "a missing source bundle",
    remove("node_modules/node-llama-cpp/llama/gitRelease.bundle"),
    /gitRelease\.bundle.*reinstall/
);
test(
    broken,
    "a missing platform package",
    remove("node_modules/@node-llama-cpp"),
    /@node-llama-cpp\/linux-x64.*--include=optional/
);
test(
    broken,
    "an incomplete platform package",
    remove("node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/libggml.v0.5.0.so"),
    /libggml\.v0\.5\.0\.so is missing from @node-llama-cpp\/linux-x64; reinstall/
);
test(broken, "an unsupported platform", nothing, /sunos-x64 is not supported.*supported: linux-x64, .*win32-arm64$/, {
    ...host,
    platform: "sunos"
});

test("a variant that a platform lacks is an error that names those that have it", (t) => {
    const root = makePackage(t);
    const message = (machine: Partial<typeof host>, gpu: "cuda" | "vulkan" | "metal" | false) =>
        t.throws(() => resolveLayout(root, { ...host, ...machine }, gpu), { instanceOf: BuildError }).message;
    t.regex(message({ arch: "arm64" }, "vulkan"), /linux-arm64 .* in the Vulkan variant.*: linux-x64, win32-x64$/);
    t.regex(message({ platform: "darwin", arch: "arm64" }, false), /darwin-arm64 .* in the CPU variant/);
    t.regex(message({}, "metal"), /linux-x64 .* in the Metal variant.*: darwin-arm64$/);
});

test("a Mac with an ARM processor has the Metal variant by default", (t) => {
    t.is(defaultVariant({ platform: "darwin", arch: "arm64" }), "metal");
    t.is(defaultVariant({ platform: "darwin", arch: "x64" }), false);
    t.is(defaultVariant(host), false);
    // the same rule, in TypeScript
    for (const platform of ["linux", "darwin", "win32"])
        for (const arch of ["x64", "arm64"])
            t.is(ordinaryVariant({ platform, arch }), defaultVariant({ platform, arch }), `${platform}-${arch}`);
});
test(broken, "a Linux without glibc", nothing, /no glibc/, { ...host, glibc: "" });
