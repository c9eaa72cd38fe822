// What the scripts of this folder's programs share.

import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { findTools } from "../build.mjs";

/** @typedef {ReturnType<typeof import("../build.mjs").resolveLayout>} Layout */

/** Bytes of weights behind a header, see fuzz-model.cpp. */
const weights = Buffer.alloc(128 * 1024, 0x3c);

export const folder = import.meta.dirname;

/**
 * Folder of programs and of what they write.
 * @param {Layout} layout
 */
export function outputFolder(layout) {
    const out = path.join(layout.buildDir, `fuzz${layout.variant}`);
    fs.mkdirSync(out, { recursive: true });
    return out;
}

/**
 * Compiles a program that uses libllama.
 * @param {Layout} layout
 * @param {readonly string[]} sources names of files in this folder; the first one is the program's name
 * @param {readonly string[]} flags
 * @returns its path
 */
export function compile(layout, sources, flags) {
    const program = path.join(outputFolder(layout), /** @type {string} */ (sources[0]));
    const { library } = layout.platform;
    execFileSync(findTools(process.env).compiler.path, [
        "-std=c++17",
        "-O1",
        ...["-Wall", "-Wextra", "-Werror"],
        ...flags,
        `-DARMT_PREBUILT_DIR="${layout.prebuiltDir}"`,
        `-I${path.join(layout.nativeDir, "engine")}`,
        ...["include", "ggml/include"].flatMap((part) => ["-isystem", path.join(layout.tree, part)]),
        ...sources.map((file) => path.join(folder, `${file}.cpp`)),
        layout.library,
        ...["ggml-base", `ggml.${layout.suffix}`].map((part) => path.join(layout.prebuiltDir, library(part))),
        "-pthread",
        "-o",
        program
    ]);
    return program;
}

/**
 * Environment of a program.
 * @param {Layout} layout
 */
export function environment(layout) {
    return {
        ...process.env,
        ARMT_FUZZ_MODEL: path.join(folder, "model.gguf"),
        GGML_NO_BACKTRACE: "1",
        LD_LIBRARY_PATH: [layout.libDir, layout.prebuiltDir].join(":")
    };
}

/**
 * Those inputs of which this package does not refuse the model file.
 * @param {Layout} layout
 * @param {"model" | "shapes"} name of the target
 * @param {string} program the target, which makes the files of shapes
 * @param {readonly string[]} inputs
 */
export async function findAccepted(layout, name, program, inputs) {
    const { readModelInfo } = await import("../../dist/plugin/model/model-file.js");
    const { loadAnyEngine } = await import("../../dist/plugin/native/library.js");
    const limits = (await loadAnyEngine()).addon.limits();
    const file = path.join(outputFolder(layout), `${name}.gguf`);
    const accepted = [];
    for (const input of inputs) {
        if (name === "model") fs.writeFileSync(file, Buffer.concat([fs.readFileSync(input), weights]));
        else execFileSync(program, [input], { env: { ...environment(layout), ARMT_FUZZ_FILE: file }, stdio: "ignore" });
        try {
            await readModelInfo(file, limits);
            accepted.push(input);
        } catch {
            // refused
        }
    }
    return accepted;
}
