import { existsSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import test from "ava";
import { makeFolder } from "../../src/util/make-folder.js";
import { temporaryFolder } from "../helpers/temporary.js";

test("makes the folders above too, several callers at once, and with the mode", async (t) => {
    const folder = path.join(temporaryFolder(t), "a", "ü b", "c");
    await Promise.all([makeFolder(folder, 0o700), makeFolder(folder, 0o700), makeFolder(path.dirname(folder), 0o700)]);
    await makeFolder(folder);
    if (process.platform !== "win32") t.is(statSync(folder).mode & 0o777, 0o700);
    t.true(statSync(folder).isDirectory());
});

test("a file in the way is an error", async (t) => {
    const file = path.join(temporaryFolder(t), "file");
    writeFileSync(file, "");
    await t.throwsAsync(makeFolder(file), { code: "EEXIST" });
    await t.throwsAsync(makeFolder(path.join(file, "folder")), { code: "ENOTDIR" });
});

(existsSync("/proc/self") ? test : test.skip)(
    "a place without new folders is an error, and not an endless loop",
    async (t) => {
        await t.throwsAsync(makeFolder("/proc/no/folder"), { code: "ENOENT" });
    }
);
