import { readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import path from "node:path";
import test from "ava";
import { publint } from "publint";
import { runNode } from "../helpers/armt-command.js";
import { packPackage } from "../helpers/packed.js";
import { repositoryRoot } from "../helpers/repository.js";

const packed = packPackage();
const description = JSON.parse(readFileSync(path.join(repositoryRoot, "package.json"), "utf8"));

/** Limit of the tarball: today's size plus a hundredth, so that adding a large file means changing this number. */
const maxBytes = 21_200_000;

test("the tarball is small and has no tests, benchmarks, source maps or builds", (t) => {
    const unwanted =
        /\.map$|^dist\/test|\.tsbuildinfo$|^test\/|^train\/|^native\/(gyp\/)?build\/|^build\/|coverage|\.gguf\.tmp$|^(dist\/)?bench\//;
    const models = packed.files.filter((file) => file.endsWith(".gguf"));
    t.deepEqual(
        packed.files.filter((file) => unwanted.test(file)),
        []
    );
    t.deepEqual(models, ["assets/memories/smollm2-135m.gguf", "assets/recall/model.gguf"]);
    t.true(packed.bytes < maxBytes, `${packed.bytes} bytes`);
    for (const file of [
        "LICENSE",
        "NOTICE.md",
        "README.md",
        "CHANGELOG.md",
        "native/gyp/binding.gyp",
        "native/build.mjs"
    ])
        t.true(packed.files.includes(file), file);
});

test("every file that a packed file imports is packed too, or is a dependency", (t) => {
    const types = Object.values<{ types?: string }>(description.exports).flatMap(({ types }) => types?.slice(2) ?? []);
    const scripts = packed.files.filter((file) => /\.m?js$/.test(file) && !file.startsWith("src/server/page/"));
    const seen = new Set<string>();
    const missing: string[] = [];
    const follow = (file: string) => {
        if (seen.has(file)) return;
        seen.add(file);
        if (!packed.files.includes(file)) missing.push(file);
        else for (const specifier of importsOf(file)) check(file, specifier);
    };
    const check = (file: string, specifier: string) => {
        if (specifier.startsWith(".")) {
            const target = path.posix.join(path.posix.dirname(file), specifier);
            follow(file.endsWith(".ts") ? target.replace(/\.(m?)js$/, ".d.$1ts") : target);
            return;
        }
        const name = specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
        const known = name.startsWith("node:") || builtinModules.includes(name) || name in description.dependencies;
        if (!known) missing.push(`${file}: ${specifier}`);
    };
    for (const file of [...types, ...scripts]) follow(file);
    t.true(seen.size > scripts.length);
    t.deepEqual(missing, []);
});

function importsOf(file: string): string[] {
    const text = readFileSync(path.join(repositoryRoot, file), "utf8");
    const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, "");
    return [...code.matchAll(/(?:^|[\s;])(?:from |import |import\()"([^"\n]+)"/g)].map(
        ([, specifier = ""]) => specifier
    );
}

test("types come first in each condition of `exports`, and all targets are packed", (t) => {
    for (const [entry, conditions] of Object.entries<string | Record<string, string>>(description.exports)) {
        const targets = typeof conditions === "string" ? [conditions] : Object.values(conditions);
        if (typeof conditions !== "string") t.is(Object.keys(conditions)[0], "types", entry);
        for (const target of targets) t.true(packed.files.includes(target.slice(2)), target);
    }
    t.deepEqual(description.sideEffects, [
        "./dist/plugin/node-llama-cpp/hide-ci.js",
        "./dist/plugin/node-llama-cpp/restore-ci.js"
    ]);
    // npx runs the program of the package's own name
    t.deepEqual(Object.keys(description.bin).sort(), ["armt", description.name]);
    for (const target of Object.values<string>(description.bin)) t.true(packed.files.includes(target.slice(2)), target);
});

test("publint finds no problem", async (t) => {
    const { messages } = await publint({ pack: { tarball: readTarball() }, strict: true });
    t.deepEqual(messages, []);
});

function readTarball(): ArrayBuffer {
    const bytes = readFileSync(packed.tarball);
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
}

test("arethetypeswrong finds no problem for importers of ES modules", async (t) => {
    const attw = path.join(repositoryRoot, "node_modules/@arethetypeswrong/cli/dist/index.js");
    const { code, stdout } = await runNode([attw, packed.tarball, "--profile", "esm-only", "--format", "json"]);
    t.is(code, 0, stdout);
    const entrypoints = JSON.parse(stdout).analysis.entrypoints;
    t.deepEqual(Object.keys(entrypoints).sort(), Object.keys(description.exports).sort());
});
