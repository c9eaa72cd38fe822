import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { rename } from "node:fs/promises";
import path from "node:path";
import test from "ava";
import { renameOver, writeAtomically } from "../../src/util/atomic-file.js";
import { signalExitCode, stopSignals } from "../../src/util/stop-signals.js";
import { temporaryFolder } from "../helpers/temporary.js";

/** A rename that fails a number of times, as Windows does while another program has the target open. */
function blocked(times: number, code: string): { move: typeof rename; attempts: () => number } {
    let attempts = 0;
    return {
        attempts: () => attempts,
        move: async (from, to) => {
            if (attempts++ < times) throw Object.assign(new Error(code), { code });
            await rename(from, to);
        }
    };
}

test("a success removes what killed processes left of the same file, and nothing else", async (t) => {
    const folder = temporaryFolder(t);
    // no process has this id: the limit of Linux is 2^22
    const [dead, running] = [2 ** 22 + 1, process.ppid];
    const names = [".a.gguf.", ".b.gguf."].flatMap((start) =>
        [dead, running].map((pid) => `${start}${pid}-0123abcd.tmp`)
    );
    for (const name of [...names, ".a.gguf.notes.tmp"]) writeFileSync(path.join(folder, name), "half");
    await writeAtomically(path.join(folder, "a.gguf"), {}, async (file) => await file.write(Buffer.from("whole")));
    t.deepEqual(
        readdirSync(folder).sort(),
        [...names.filter((name) => name !== `.a.gguf.${dead}-0123abcd.tmp`), ".a.gguf.notes.tmp", "a.gguf"].sort()
    );
});

test("a file that another program has open for a moment is replaced on Windows", async (t) => {
    const folder = temporaryFolder(t);
    const [from, to] = [path.join(folder, "new"), path.join(folder, "old")] as const;
    writeFileSync(from, "new");
    writeFileSync(to, "old");
    const { move, attempts } = blocked(2, "EPERM");
    await renameOver(from, to, { move, system: "win32" });
    t.is(attempts(), 3);
    t.is(readFileSync(to, "utf8"), "new");
});

test("a file that stays open is an error that says so, and other errors are not tried again", async (t) => {
    const never = blocked(Number.POSITIVE_INFINITY, "EBUSY");
    await t.throwsAsync(renameOver("a", "b", { move: never.move, system: "win32" }), {
        message: /cannot write "b": Windows does not replace it \(EBUSY\); close every program/
    });
    for (const [code, system] of [
        ["ENOSPC", "win32"],
        ["EPERM", "linux"]
    ] as const) {
        const once = blocked(1, code);
        await t.throwsAsync(renameOver("a", "b", { move: once.move, system }), { code });
        t.is(once.attempts(), 1);
    }
});

test("Windows has other signals to stop", (t) => {
    t.deepEqual(stopSignals("linux"), ["SIGINT", "SIGTERM"]);
    t.deepEqual(stopSignals("win32"), ["SIGINT", "SIGBREAK", "SIGHUP"]);
    t.deepEqual([signalExitCode("SIGINT"), signalExitCode("SIGTERM")], [130, 143]);
});
