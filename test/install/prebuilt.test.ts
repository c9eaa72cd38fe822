import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { runNode } from "../helpers/armt-command.js";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";

const script = path.join(repositoryRoot, "native", "prebuilt.mjs");
const { version, name } = JSON.parse(readFileSync(path.join(repositoryRoot, "package.json"), "utf8"));
const host = `linux-${process.arch}`;

// node-llama-cpp has GPU variants only for x64
const variants = process.arch === "x64" ? ["cpu", "cuda", "vulkan"] : ["cpu"];

test("each variant's package holds libllama with the engine, under the name that its addon loads", async (t) => {
    const out = temporaryFolder(t);
    const { code, stderr, stdout } = await runNode([script, "--out", out, "--variants", variants.join(",")]);
    t.is(stderr, "");
    t.is(code, 0);
    t.is(stdout.trim().split("\n").length, variants.length);
    for (const variant of variants) {
        const bins = variant === "cpu" ? host : `${host}-${variant}`;
        const folder = path.join(out, bins);
        const description = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8"));
        t.is(description.name, `@${name}/${bins}`);
        t.is(description.version, version);
        t.deepEqual([description.os, description.cpu, description.libc], [["linux"], [process.arch], ["glibc"]]);
        for (const file of ["LICENSE", "NOTICE.md", "README.md"]) t.true(existsSync(path.join(folder, file)));

        const files = readdirSync(path.join(folder, "bins"));
        const library = files.find((file) => file.startsWith("libllama."))!;
        t.deepEqual(files, variant === "cpu" ? ["armt.node", "libggml-rpc.so", library] : [library]);
        const addon = path.join(repositoryRoot, "node_modules/@node-llama-cpp", bins, "bins", bins, "llama-addon.node");
        const { soname, needed } = readDynamic(path.join(folder, "bins", library));
        t.is(soname, library);
        t.true(readDynamic(addon).needed.includes(library));
        t.is(needed.filter((file) => file.startsWith("libggml")).length, 2);
        t.true(needed.includes(library.replace("libllama", "libggml")));
        t.regex(symbols(path.join(folder, "bins", library)), /\barmt_get_api$/m);
    }
});

test("an unknown variant is named, with a list of the known ones", async (t) => {
    const { code, stderr } = await runNode([script, "--variants", "cpu,rocm", "--out", temporaryFolder(t)]);
    t.is(code, 1);
    t.is(stderr, "prebuilt: unknown variant rocm; known: cpu, cuda, vulkan\n");
});

function readDynamic(file: string): { soname?: string; needed: string[] } {
    const text = execFileSync("readelf", ["-d", file], { encoding: "utf8" });
    const values = (kind: string) =>
        [...text.matchAll(new RegExp(`\\(${kind}\\).*\\[(.*)\\]`, "g"))].map(([, value]) => value!);
    return { soname: values("SONAME")[0], needed: values("NEEDED") };
}

function symbols(file: string): string {
    return execFileSync("nm", ["-D", "--defined-only", file], { encoding: "utf8" });
}
