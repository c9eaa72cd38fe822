import fs from "node:fs";
import path from "node:path";
import { BuildError } from "./errors.mjs";
import { findPackage } from "./layout.mjs";
import { run } from "./run.mjs";

/**
 * Builds the addon with node-gyp, in a folder of its own: npm takes every package with a `binding.gyp` in its root for one
 * whose install script is node-gyp's.
 * @param {import("./layout.mjs").Layout} layout
 * @param {import("./tools.mjs").Tools} tools
 * @param {NodeJS.ProcessEnv} env
 */
export async function buildAddon(layout, tools, env) {
    const nodedir = env.npm_config_nodedir ?? headersOfThisNode();
    const args = [findNodeGyp(layout, env), "configure", "build", "--release", `--python=${tools.python.path}`];
    if (nodedir != null) args.push(`--nodedir=${nodedir}`);
    const { ccache, compiler } = tools;
    // on Windows, node-gyp finds Visual Studio
    const cxx = compiler.path === "" ? {} : { CXX: [ccache, compiler.path].filter(Boolean).join(" ") };
    await run("compiling the addon", process.execPath, args, { layout, env: { ...env, ...cxx }, cwd: layout.gypDir });
    const result = path.join(layout.gypDir, "build", "Release", "armt.node");
    if (!fs.existsSync(result))
        throw new BuildError(
            `node-gyp ended without ${path.relative(layout.root, result)}; run the build again with \`--force\``
        );
    // a process that has loaded the old file keeps it
    const next = `${layout.addon}.tmp`;
    fs.copyFileSync(result, next);
    fs.renameSync(next, layout.addon);
}

/**
 * @param {import("./layout.mjs").Layout} layout
 * @param {NodeJS.ProcessEnv} env
 */
function findNodeGyp(layout, env) {
    const folder = findPackage(layout.root, "node-gyp");
    const script = folder == null ? env.npm_config_node_gyp : path.join(folder, "bin", "node-gyp.js");
    if (script == null) throw new BuildError("node-gyp is not installed; run `npm install node-gyp`");
    return script;
}

/**
 * Headers that came with this Node spare node-gyp a download.
 * @returns {string | null} the folder to give as `nodedir`
 */
function headersOfThisNode() {
    const prefix = path.dirname(path.dirname(process.execPath));
    const header = path.join(prefix, "include", "node", "node_version.h");
    if (!fs.existsSync(header)) return null;
    const text = fs.readFileSync(header, "utf8");
    const parts = ["MAJOR", "MINOR", "PATCH"].map((part) => text.match(`#define NODE_${part}_VERSION (\\d+)`)?.[1]);
    return parts.join(".") === process.versions.node ? prefix : null;
}
