import type { Writable } from "node:stream";
import { armtFlags, loraFlags } from "../../convert/checkpoint-arguments.js";
import { detectionTable, detectionVerdict } from "../../detect/compare.js";
import { detectVariant } from "../../detect/detect.js";
import { variantOptions } from "../../detect/variants.js";
import { UsageError } from "../../util/failure.js";
import { parseLength } from "../../util/lengths.js";
import { openText } from "../shared/text-input.js";
import type { DetectArguments } from "./options.js";

/** Measures all variants and writes a table with the verdict, or JSON. */
export async function printDetection(options: DetectArguments, signal: AbortSignal, output: Writable): Promise<void> {
    const segmentSizes = options.segmentSize === undefined ? undefined : parseSizes(options.segmentSize);
    const maxTokens = options.tokens === undefined ? undefined : parseSizes(options.tokens)[0];
    let text = "";
    for await (const piece of (await openText(options.text)).pieces) {
        signal.throwIfAborted();
        text += piece;
    }
    const detection = await detectVariant({
        checkpoint: options.checkpoint,
        base: options.base,
        flags: armtFlags(options),
        lora: loraFlags(options),
        computing: { ...options, kvType: "f32" },
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

function parseSizes(text: string): number[] {
    try {
        return String(text).split(",").map(parseLength);
    } catch (error) {
        throw new UsageError(error instanceof Error ? error.message : String(error));
    }
}
