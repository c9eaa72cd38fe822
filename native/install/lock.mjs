import fs from "node:fs";
import path from "node:path";
import { BuildError } from "./errors.mjs";

/**
 * Runs the build while no other process builds in the same folder. A lock whose owner is gone is taken over.
 * @param {import("./layout.mjs").Layout} layout
 * @param {() => Promise<void>} work
 */
export async function withBuildLock(layout, work) {
    const file = path.join(layout.buildDir, "build.lock");
    if (!take(file)) {
        const owner = Number(fs.readFileSync(file, "utf8"));
        if (isAlive(owner))
            throw new BuildError(
                `another build is running (process ${owner}); wait for it or end it, then run this again`
            );
        fs.rmSync(file, { force: true });
        if (!take(file)) throw new BuildError("another build has just started; wait for it, then run this again");
    }
    try {
        await work();
    } finally {
        fs.rmSync(file, { force: true });
    }
}

/** @param {string} file */
function take(file) {
    // a link appears together with its content, so no lock without an owner is ever seen
    const draft = `${file}.${process.pid}`;
    fs.writeFileSync(draft, String(process.pid));
    try {
        fs.linkSync(draft, file);
        return true;
    } catch (error) {
        if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
        throw error;
    } finally {
        fs.rmSync(draft);
    }
}

/** @param {number} pid */
function isAlive(pid) {
    try {
        return process.kill(pid, 0);
    } catch (error) {
        return error instanceof Error && "code" in error && error.code === "EPERM";
    }
}
