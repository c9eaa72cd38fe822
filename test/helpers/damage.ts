import { writeFileSync } from "node:fs";
import type { ExecutionContext } from "ava";
import { ArmtError } from "../../src/util/errors.js";

type Closable = { close(): Promise<void> };

/** Checks that a file truncated at any byte is refused with an `ArmtError` of one line. */
export async function refusesTruncation(
    t: ExecutionContext,
    bytes: Buffer,
    path: string,
    open: (path: string) => Promise<Closable>
): Promise<void> {
    for (let length = 0; length < bytes.length; length++) {
        writeFileSync(path, bytes.subarray(0, length));
        const error = await t.throwsAsync(open(path), { instanceOf: ArmtError }, `cut after ${length} bytes`);
        t.notRegex(error.message, /\n/);
    }
}

/**
 * Checks that a file with any one bit flipped is refused with an `ArmtError` or still parses.
 * @returns the number of refused files
 */
export async function survivesBitFlips(
    t: ExecutionContext,
    bytes: Buffer,
    path: string,
    open: (path: string) => Promise<Closable>
): Promise<number> {
    let refused = 0;
    for (let bit = 0; bit < bytes.length * 8; bit++) {
        const damaged = Buffer.from(bytes);
        damaged[bit >> 3]! ^= 1 << (bit & 7);
        writeFileSync(path, damaged);
        try {
            await (await open(path)).close();
        } catch (error) {
            if (!(error instanceof ArmtError)) t.fail(`bit ${bit}: ${String(error)}`);
            refused++;
        }
    }
    return refused;
}
