import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/** A test, or what else tells when it is over. */
export interface Ending {
    teardown(end: () => unknown): void;
}

/** A folder that is removed when the test ends. */
export function temporaryFolder(t: Ending): string {
    const folder = mkdtempSync(path.join(tmpdir(), "armt-test-"));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    return folder;
}
