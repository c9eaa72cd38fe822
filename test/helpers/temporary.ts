import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import type { ExecutionContext } from "ava";

/** A folder that is removed when the test ends. */
export function temporaryFolder(t: ExecutionContext): string {
    const folder = mkdtempSync(path.join(tmpdir(), "armt-test-"));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
}
