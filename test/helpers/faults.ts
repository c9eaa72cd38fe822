import fs, { type FileHandle } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { devNull } from "node:os";
import type { ExecutionContext } from "ava";

/** What goes wrong: an error of the system, or only a part of the bytes is read or written. */
export type Fault = "ENOSPC" | "EIO" | "EACCES" | "short";

export const allFaults: readonly Fault[] = ["ENOSPC", "EIO", "EACCES", "short"];

const functions = ["open", "rename", "rm", "stat", "lstat", "readdir", "readFile", "mkdir", "utimes"] as const;
const methods = ["read", "write", "sync", "stat", "close"] as const;

type Call = (...args: unknown[]) => Promise<unknown>;
type Calls = Record<string, Call>;

/** What happened to the work of {@link withFault}. */
export interface Outcome {
    /** Name of the call that failed; undefined if there were fewer calls. */
    readonly failed: string | undefined;
    /** What the work threw. */
    readonly error: unknown;
}

/**
 * Runs `work` while one call of the file system goes wrong, in the whole process: call number `at`, from 0. Synchronous
 * calls and streams are left alone.
 */
export async function withFault(at: number, fault: Fault, work: () => Promise<unknown>): Promise<Outcome> {
    const probe = await fs.open(devNull);
    const prototype = Object.getPrototypeOf(probe) as Calls;
    await probe.close();
    let count = 0;
    let failed: string | undefined;
    const restore: (() => void)[] = [];
    const wrap = (owner: Calls, name: string) => {
        const original = owner[name]!;
        owner[name] = async function (this: FileHandle, ...args: unknown[]) {
            if (count++ !== at) return await original.apply(this, args);
            failed = name;
            if (fault === "short") return await original.apply(this, shortened(name, args));
            // a handle is closed all the same
            if (name === "close") await original.apply(this, args);
            throw Object.assign(new Error(`${fault}: injected, ${name}`), { code: fault, syscall: name });
        };
        restore.push(() => {
            owner[name] = original;
        });
    };
    for (const name of functions) wrap(fs as unknown as Calls, name);
    for (const name of methods) wrap(prototype, name);
    syncBuiltinESMExports();
    try {
        await work();
        return { failed, error: undefined };
    } catch (error) {
        return { failed, error };
    } finally {
        for (const undo of restore) undo();
        syncBuiltinESMExports();
    }
}

/** The arguments for half of the bytes; those of other calls are as they were. */
function shortened(name: string, args: unknown[]): unknown[] {
    const length = args[2];
    if ((name !== "read" && name !== "write") || typeof length !== "number" || length < 2) return args;
    return [args[0], args[1], Math.floor(length / 2), args[3]];
}

/**
 * Lets each call of `work` fail in turn, in each way. `check` inspects the files after each attempt.
 * @returns the number of calls
 */
export async function eachFault(
    t: ExecutionContext,
    work: () => Promise<unknown>,
    check: (outcome: Outcome, what: string) => Promise<void>
): Promise<number> {
    let calls = 0;
    for (const fault of allFaults) {
        for (let at = 0; ; at++) {
            const outcome = await withFault(at, fault, work);
            const what = outcome.failed === undefined ? "no fault" : `${fault} in call ${at}, ${outcome.failed}`;
            if (outcome.failed === undefined || fault === "short") t.is(outcome.error, undefined, what);
            await check(outcome, what);
            if (outcome.failed === undefined) {
                calls = at;
                break;
            }
        }
    }
    return calls;
}
