import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { runNode } from "./armt-command.js";
import { repositoryRoot } from "./repository.js";

/** What `npm publish` would upload. */
export type Packed = { tarball: string; files: string[]; bytes: number; folder: string };

/** Packs this package as built, once for the tests of a file. The folder is removed at exit. */
export function packPackage(): Packed {
    const folder = mkdtempSync(path.join(tmpdir(), "armt-test-packed-"));
    process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
    const options = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
    const output = execFileSync("npm", options, {
        cwd: repositoryRoot,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"]
    });
    const [{ filename, files, size }] = JSON.parse(output);
    return {
        tarball: path.join(folder, filename),
        files: files.map((file: { path: string }) => file.path),
        bytes: size,
        folder
    };
}

/**
 * A project that depends on the packed package. The package is unpacked as npm does it, along with its dependencies and
 * the prebuilt package of this platform, so that nothing is compiled or downloaded.
 * @param devDependencies further packages of this repository that the project has
 */
export async function makeConsumer(
    { tarball, folder }: Packed,
    name: string,
    devDependencies: string[] = []
): Promise<string> {
    const project = path.join(folder, name);
    const modules = path.join(project, "node_modules");
    const ours = path.join(modules, "node-llama-cpp-armt");
    mkdirSync(ours, { recursive: true });
    execFileSync("tar", ["-xzf", tarball, "-C", ours, "--strip-components", "1"]);
    const { dependencies } = await import(path.join(ours, "package.json"), { with: { type: "json" } }).then(
        (module) => module.default
    );
    for (const dependency of [...Object.keys(dependencies), ...devDependencies]) link(modules, dependency);

    const prebuilt = path.join(project, "prebuilt");
    const { stderr, code } = await runNode([
        path.join(repositoryRoot, "native/prebuilt.mjs"),
        "--out",
        prebuilt,
        "--variants",
        "cpu"
    ]);
    if (code !== 0) throw new Error(stderr);
    const scope = path.join(modules, "@node-llama-cpp-armt");
    mkdirSync(scope, { recursive: true });
    for (const bins of readdirSync(prebuilt)) symlinkSync(path.join(prebuilt, bins), path.join(scope, bins));
    return project;
}

function link(modules: string, name: string): void {
    const place = path.join(modules, name);
    mkdirSync(path.dirname(place), { recursive: true });
    symlinkSync(path.join(repositoryRoot, "node_modules", name), place);
}
