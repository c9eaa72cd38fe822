import path from "node:path";
import type { ExecutionContext } from "ava";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { temporaryFolder } from "./temporary.js";

/** Writes a checkpoint that converts in milliseconds. */
export async function makeTinyIn(folder: string, options: TinyOptions = {}): Promise<void> {
    const sizes = { layers: 3, hidden: 32, vocab: 40, dMem: 8, memTokens: 4, tokenizer: false };
    await makeTinyCheckpoint(folder, { ...sizes, ...options });
}

/** The same, in a new temporary folder. */
export async function makeTiny(t: ExecutionContext, options: TinyOptions = {}): Promise<string> {
    const folder = path.join(temporaryFolder(t), "checkpoint");
    await makeTinyIn(folder, options);
    return folder;
}
