import process from "node:process";
import type { Writable } from "node:stream";
import { openModel } from "../../model/open-model.js";
import { withoutMemory } from "../../model/without-memory.js";
import { ArmtError, quote } from "../../util/errors.js";
import { createProgressBar, createProgressCounter, type ProgressBar } from "../../util/progress.js";
import { openTexts, type TextInput } from "../shared/text-input.js";
import { checkTarget } from "./check-target.js";
import type { ReadOptions } from "./options.js";
import { ReadCheckpoint } from "./ReadCheckpoint.js";
import { readText } from "./read-text.js";

/** The output of `armt read --json`. */
export interface ReadResult {
    /** Number of tokens in the memory. */
    tokens: number;
    /** Number of these tokens that an interrupted run had already read. */
    resumedTokens: number;
    segments: number;
    /** Size of the memory file. Unit: bytes. */
    bytes: number;
    /** Time to read the text and save the memory. */
    milliseconds: number;
}

/** Reads a text to its end and saves the memory. */
export async function read(options: ReadOptions, signal: AbortSignal, output: Writable): Promise<void> {
    const input = await openTexts(options.files ?? []);
    await checkTarget(options);
    const { llama, model, file, createContext } = await openModel(options);
    try {
        const { armt } = (await createContext()).getSequence();
        if (armt === undefined) throw withoutMemory(file);
        const started = performance.now();
        const checkpoint = new ReadCheckpoint(`${options.out}.part`, input);
        if (options.restart) await checkpoint.remove();
        const { rest, resumed } = await checkpoint.resume(armt);
        const resumedTokens = armt.tokens;
        if (resumed) note(`resuming after ${resumedTokens} tokens that an interrupted run has read`);
        const bar = openProgress(input);
        try {
            await readText(
                { model, armt, checkpoint, rest },
                {
                    checkpointInterval: options.checkpointInterval,
                    signal,
                    onProgress: () => {
                        const { bytesRead } = checkpoint;
                        bar.update(input.bytes === undefined ? armt.tokens : bytesRead, input.bytes ?? armt.tokens);
                    }
                }
            );
        } catch (error) {
            bar.stop();
            if (signal.aborted && armt.tokens > 0) note("the same command resumes here");
            throw error;
        } finally {
            bar.stop();
        }
        if (checkpoint.bytesRead === 0)
            throw new ArmtError(`${nameOf(input)} is empty; a text needs at least one character`);

        const { closedOnly } = options;
        const { bytes, tokensRead } = await armt.save(options.out, { closedOnly, source: checkpoint.source(true) });
        await checkpoint.remove();
        const milliseconds = performance.now() - started;
        const result: ReadResult = {
            tokens: tokensRead,
            resumedTokens,
            segments: armt.segmentsClosed,
            bytes,
            milliseconds
        };
        if (options.json) output.write(`${JSON.stringify(result)}\n`);
        else note(describe(result, options.out));
    } finally {
        await llama.dispose();
    }
}

function nameOf({ name }: TextInput): string {
    return name === "-" ? "standard input" : quote(name);
}

function openProgress({ bytes }: TextInput): ProgressBar {
    return bytes === undefined ? createProgressCounter("reading", "tokens") : createProgressBar("reading");
}

function describe({ tokens, resumedTokens, segments, bytes, milliseconds }: ReadResult, out: string): string {
    const rate = (1000 * (tokens - resumedTokens)) / milliseconds;
    return (
        `read ${tokens} ${tokens === 1 ? "token" : "tokens"} in ${(milliseconds / 1000).toFixed(2)} s ` +
        `(${rate.toFixed(1)} tokens/s) | ` +
        `${segments} segments closed | ${bytes} bytes in ${quote(out)}`
    );
}

function note(text: string): void {
    process.stderr.write(`${text}\n`);
}
