import { spawnSync } from "node:child_process";
import { appendFileSync } from "node:fs";
import path from "node:path";
import type { ExecutionContext } from "ava";
import { temporaryFolder } from "./temporary.js";

/** Runs `work` with a file system of so many bytes. Where none may be mounted the test passes with a message. */
export async function withFullDisk(
    t: ExecutionContext,
    bytes: number,
    work: (folder: string) => Promise<void>
): Promise<void> {
    const folder = temporaryFolder(t);
    const { status, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", folder], {
        encoding: "utf8"
    });
    if (status !== 0) {
        t.log(`skipped: no file system can be mounted here (${stderr?.trim() ?? "no mount command"})`);
        t.pass();
        return;
    }
    try {
        await work(folder);
    } finally {
        spawnSync("umount", [folder]);
    }
}

/** Writes a file `filler` until nothing more fits. */
export function fillDisk(folder: string): void {
    try {
        for (;;) appendFileSync(path.join(folder, "filler"), Buffer.alloc(4096));
    } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
}
