import type { Writable } from "node:stream";
import type { ArmtFlags } from "../../convert/armt-config.js";
import { armtFlags, loraFlags } from "../../convert/checkpoint-arguments.js";
import type { ConvertOptions } from "../../convert/convert.js";
import { detectionTable, detectionVerdict } from "../../detect/compare.js";
import { detectVariant } from "../../detect/detect.js";
import { variantOptions } from "../../detect/variants.js";
import { ArmtError, quote } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";
import { parseLength } from "../../util/lengths.js";
import { openText } from "../shared/text-input.js";
import type { DetectArguments } from "./options.js";

/** Measures all variants and writes a table with the verdict, or JSON. */
export async function printDetection(options: DetectArguments, signal: AbortSignal, output: Writable): Promise<void> {
    const { segmentSize, ...computing } = options;
    const segmentSizes = segmentSize === undefined ? undefined : parseSizes(segmentSize);
    const maxTokens = options.tokens === undefined ? undefined : parseSizes(options.tokens)[0];
    const text = await readText(options.text, signal);
    const detection = await detectVariant({
        checkpoint: options.checkpoint,
        base: options.base,
        flags: armtFlags(options),
        lora: loraFlags(options),
        computing: { ...computing, kvType: "f32" },
        text,
        segmentSizes,
        maxTokens,
        signal,
        onWarning: (message) => process.stderr.write(`warning: ${message}\n`),
        onVariant: (done, variant) => process.stderr.write(`${done}: measured ${variantOptions(variant)}\n`)
    });
    output.write(
        options.json ? `${JSON.stringify(detection)}\n` : `${detectionTable(detection)}${detectionVerdict(detection)}\n`
    );
}

/**
 * Flags of a conversion, completed by what a text shows.
 * @throws {ArmtError} if the text does not show it clearly
 */
export async function detectFlags(file: string, options: Omit<ConvertOptions, "output">): Promise<ArmtFlags> {
    const text = await readText(file, options.signal);
    const detection = await detectVariant({ ...options, computing: { kvType: "f32" }, text });
    process.stderr.write(`${detectionTable(detection)}${detectionVerdict(detection)}\n`);
    if (detection.winner === undefined)
        throw new ArmtError(
            `${quote(file)} does not show clearly how the memory is computed; pass a longer text, or the options`
        );
    return { ...options.flags, ...detection.winner };
}

async function readText(file: string, signal: AbortSignal | undefined): Promise<string> {
    let text = "";
    for await (const piece of (await openText(file)).pieces) {
        signal?.throwIfAborted();
        text += piece;
    }
    return text;
}

function parseSizes(text: string): number[] {
    try {
        return String(text).split(",").map(parseLength);
    } catch (error) {
        throw new UsageError(error instanceof Error ? error.message : String(error));
    }
}
