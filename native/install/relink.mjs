import fs from "node:fs";
import path from "node:path";
import { BuildError } from "./errors.mjs";
import { findPackage } from "./layout.mjs";
import { configureLibrary } from "./library.mjs";
import { run } from "./run.mjs";

/**
 * Links the objects of libllama again, under the name that a GPU variant of node-llama-cpp looks for.
 * @param {import("./layout.mjs").Layout} layout
 * @param {import("./tools.mjs").Tools} tools
 * @param {{bins: string, gpu: string}} variant e.g. `linux-x64-cuda`, `cuda`
 * @returns {Promise<string>} the library made
 */
export async function relink(layout, tools, { bins, gpu }) {
    const nodeLlamaCpp = /** @type {string} */ (findPackage(layout.root, "node-llama-cpp"));
    const ggml = findPackage(nodeLlamaCpp, `@node-llama-cpp/${bins}`);
    if (ggml == null)
        throw new BuildError(
            `@node-llama-cpp/${bins} is not installed; run \`npm install --no-save @node-llama-cpp/${bins}@${layout.nodeLlamaCppVersion}\``
        );
    const options = { layout, env: process.env };
    // A build that was copied has no CMake folder. Its libraries are up to date, so nothing made one again.
    if (!fs.existsSync(path.join(layout.cmakeDir, "CMakeCache.txt"))) {
        if (!fs.existsSync(layout.tree))
            throw new BuildError(
                `${path.relative(layout.root, layout.tree)} is not there; run \`npm run build -- --force\` first`
            );
        await configureLibrary(layout, tools, process.env);
    }
    // what the build of libllama set is in CMake's cache
    const definition = `-DARMT_VARIANT_${gpu}=${path.join(ggml, "bins", bins)}`;
    await run(
        "configuring libllama",
        tools.cmake.path,
        ["-S", layout.nativeDir, "-B", layout.cmakeDir, definition],
        options
    );
    const args = ["--build", layout.cmakeDir, "--config", "Release", "--target", `llama-${gpu}`];
    await run(`linking libllama for ${gpu}`, tools.cmake.path, args, options);
    const library = path.join(layout.libDir, layout.platform.library(`llama.${gpu}.${layout.release}`));
    if (!fs.existsSync(library)) throw new BuildError(`the link ended without ${path.relative(layout.root, library)}`);
    return library;
}
