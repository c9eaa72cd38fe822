#!/usr/bin/env node
// Makes the prebuilt packages of this platform: `node native/prebuilt.mjs [--out <folder>] [--variants cpu,cuda,vulkan]`. Needs a finished build.
// Each is a folder that `npm publish` takes. Users who have it installed need no compiler.

import fs from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { BuildError, findTools, packageRoot, resolveLayout } from "./build.mjs";
import { packageName } from "./install/libraries.mjs";
import { withBuildLock } from "./install/lock.mjs";
import { findPlatform, librarySuffix } from "./install/platforms.mjs";
import { relink } from "./install/relink.mjs";

const variants = [...(findPlatform()?.variants ?? [])];
/** The variants of this platform by the names on the command line. */
const known = variants.map(([gpu]) => gpu || "cpu");

/**
 * @param {string} out folder that gets one folder for each variant
 * @param {string[]} wanted names of variants
 * @returns {Promise<string[]>} the folders made
 */
export async function makePrebuiltPackages(out, wanted) {
    const layout = resolveLayout(packageRoot);
    for (const file of [layout.library, layout.addon])
        if (!fs.existsSync(file))
            throw new BuildError(`${path.relative(packageRoot, file)} is not there; run \`npm run build\` first`);
    const ours = JSON.parse(fs.readFileSync(path.join(packageRoot, "package.json"), "utf8"));
    const folders = [];
    for (const [gpu, bins] of variants.filter(([name]) => wanted.includes(name || "cpu"))) {
        const folder = path.join(out, bins);
        fs.rmSync(folder, { recursive: true, force: true });
        fs.mkdirSync(path.join(folder, "bins"), { recursive: true });
        const library = path.join(
            folder,
            "bins",
            layout.platform.library(`llama.${librarySuffix(gpu, layout.release)}`)
        );
        if (gpu === layout.gpu) {
            fs.copyFileSync(layout.library, library);
            fs.copyFileSync(layout.addon, path.join(folder, "bins", "armt.node"));
            const rpc = layout.platform.backend("ggml-rpc");
            fs.copyFileSync(path.join(layout.libDir, rpc), path.join(folder, "bins", rpc));
        } else
            await withBuildLock(layout, async () => {
                fs.copyFileSync(await relink(layout, findTools(process.env), { bins, gpu: `${gpu}` }), library);
            });
        const description = {
            name: packageName(packageRoot, bins),
            version: ours.version,
            description: `Prebuilt libllama with the ARMT engine for ${ours.name} on ${bins}`,
            license: ours.license,
            repository: ours.repository,
            os: [process.platform],
            cpu: [process.arch],
            libc: process.platform === "linux" ? ["glibc"] : undefined,
            engines: ours.engines,
            files: ["bins/", "NOTICE.md"],
            peerDependencies: { [ours.name]: ours.version },
            preferUnplugged: true
        };
        fs.writeFileSync(path.join(folder, "package.json"), `${JSON.stringify(description, null, 4)}\n`);
        for (const text of ["LICENSE", "NOTICE.md"])
            fs.copyFileSync(path.join(packageRoot, text), path.join(folder, text));
        fs.writeFileSync(
            path.join(folder, "README.md"),
            `# ${description.name}\n\n${description.description}. It is loaded by ${ours.name}; there is nothing to import.\n`
        );
        folders.push(folder);
    }
    return folders;
}

/** @param {string[]} args */
async function main(args) {
    const { values } = parseArgs({
        args,
        options: {
            out: { type: "string", default: "prebuilt" },
            variants: { type: "string", default: known.join(",") }
        }
    });
    const wanted = values.variants.split(",");
    const unknown = wanted.find((variant) => !known.includes(variant));
    if (unknown != null) throw new BuildError(`unknown variant ${unknown}; known: ${known.join(", ")}`);
    for (const folder of await makePrebuiltPackages(path.resolve(values.out), wanted))
        process.stdout.write(`${path.relative(process.cwd(), folder)}\n`);
}

if (process.argv[1] != null && fs.realpathSync(process.argv[1]) === import.meta.filename) {
    try {
        await main(process.argv.slice(2));
    } catch (error) {
        process.stderr.write(`prebuilt: ${error instanceof Error ? error.message : String(error)}\n`);
        process.exitCode = 1;
    }
}
