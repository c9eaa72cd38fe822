import os from "node:os";
import path from "node:path";

/**
 * The folder for what this package keeps between runs: `node-llama-cpp-armt` in `$XDG_CACHE_HOME`, or in `~/.cache` if
 * that variable is unset or not absolute (XDG Base Directory Specification). An empty HOME counts as unset.
 */
export function userCacheFolder(env: NodeJS.ProcessEnv = process.env): string {
    const base = env.XDG_CACHE_HOME ?? "";
    return path.join(
        path.isAbsolute(base) ? base : path.join(os.homedir() || os.userInfo().homedir, ".cache"),
        "node-llama-cpp-armt"
    );
}
