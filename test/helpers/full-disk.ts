import { execFileSync, spawnSync } from "node:child_process";
import { appendFileSync, mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { ExecutionContext } from "ava";
import { testWith } from "./needs.js";
import { temporaryFolder } from "./temporary.js";

const mountArguments = (folder: string, bytes: number) => ["-t", "tmpfs", "-o", `size=${bytes}`, "tmpfs", folder];

function canMount(): boolean {
    const folder = mkdtempSync(path.join(tmpdir(), "armt-test-mount-"));
    const mounted = spawnSync("mount", mountArguments(folder, 4096)).status === 0;
    if (mounted) execFileSync("umount", [folder]);
    rmdirSync(folder);
    return mounted;
}

/** A test that uses {@link withFullDisk}. A container without the capability SYS_ADMIN skips it. */
export const fullDiskTest = testWith({ needs: "the right to mount a file system", available: canMount() });

/** Runs `work` with a file system of the given size. */
export async function withFullDisk(
    t: ExecutionContext,
    bytes: number,
    work: (folder: string) => Promise<void>
): Promise<void> {
    const folder = temporaryFolder(t);
    execFileSync("mount", mountArguments(folder, bytes));
    try {
        await work(folder);
    } finally {
        execFileSync("umount", [folder]);
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
