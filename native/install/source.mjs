import fs from "node:fs";
import path from "node:path";
import { run } from "./run.mjs";
import { allPatches } from "./stamp.mjs";

/**
 * Makes the patched source tree. A tree that is there already is reset instead of cloned again, so that only files that patches touch get a
 * new time and the rest of the build stays valid.
 * @param {import("./layout.mjs").Layout} layout
 * @param {import("./tools.mjs").Tools} tools
 * @param {NodeJS.ProcessEnv} env
 */
export async function prepareSource(layout, tools, env) {
    const { tree } = layout;
    const options = { layout, env: withoutRepository(env) };
    // written last, so an interrupted clone is not taken for a whole one
    const marker = path.join(tree, ".git", "armt-cloned");
    const origin = `${layout.nodeLlamaCppVersion} ${layout.release}`;
    if (fs.existsSync(marker) && fs.readFileSync(marker, "utf8") === origin) {
        await run("resetting llama.cpp's source", tools.git.path, ["-C", tree, "reset", "-q", "--hard"], options);
        await run("resetting llama.cpp's source", tools.git.path, ["-C", tree, "clean", "-fdq"], options);
    } else {
        fs.rmSync(tree, { recursive: true, force: true });
        const args = ["clone", "-q", "-c", "advice.detachedHead=false", layout.bundle, tree];
        await run("unpacking llama.cpp's source", tools.git.path, args, options);
        fs.writeFileSync(marker, origin);
    }
    for (const patch of allPatches(layout)) {
        const args = ["-C", tree, "apply", "--whitespace=nowarn", patch];
        await run(`applying ${path.basename(patch)}`, tools.git.path, args, options);
    }
}

/**
 * Inside a git hook these variables would send git to the repository that runs the hook.
 * @param {NodeJS.ProcessEnv} env
 */
function withoutRepository(env) {
    return { ...env, GIT_DIR: undefined, GIT_WORK_TREE: undefined, GIT_INDEX_FILE: undefined };
}
