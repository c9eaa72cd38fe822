import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import test from "ava";

const script = fileURLToPath(new URL("../../bench/kills.js", import.meta.url));

test.serial("kill -9 of convert and read at any moment leaves no damaged file", async (t) => {
    t.timeout(600_000);
    // its exit code is 0 only if each file was whole, absent, or the part that the next run resumes
    const { stdout } = await promisify(execFile)(process.execPath, [
        script,
        "--kills",
        "8",
        "--seed",
        String(Date.now())
    ]);
    t.regex(stdout, /^8 kills, no damaged file, no temporary file left$/m);
});
