import type { ArmtModelKeys } from "../formats/gguf/armt-keys.js";

/** Multiplications and additions of matrix products, each counted as one operation. */
export interface Operations {
    readonly armt: number;
    readonly stock: number;
}

/**
 * Counts what no schedule can do without, from the start of a prompt to the first token after it: products with
 * weights, attention (causal, so half of the square), products with the memory. In the last layer only rows that
 * somebody reads go beyond K and V: memory rows, and the last token.
 * @param tokens of the prompt
 * @param segmentSize text tokens in a segment
 */
export function countOperations(info: ArmtModelKeys, tokens: number, segmentSize: number): Operations {
    const segments = Math.ceil(tokens / segmentSize);
    const { tokenCount } = info.memory;
    // the last segment stays open: it reads memory and writes nothing
    const open = tokens - (segments - 1) * segmentSize;
    let armt = rows(info, open, 1) + (segments > 1 ? reads(info, open) : 0);
    if (segments > 1) {
        const closed = rows(info, segmentSize + tokenCount, tokenCount);
        armt += (segments - 1) * (closed + writes(info));
        armt += (segments - 2) * (reads(info, segmentSize + tokenCount) + corrections(info));
    }
    const head = 2 * info.vocabSize * info.embeddingLength;
    return { armt: armt + head, stock: rows(info, tokens, 1) + head };
}

/** The base model over rows that attend to each other; `last` of them go through all of the last layer. */
function rows(info: ArmtModelKeys, count: number, last: number): number {
    const { embeddingLength: d, feedForwardLength: f, headCount, headCountKv, headSize, blockCount } = info;
    const queries = headCount * headSize;
    const keysAndValues = 2 * d * 2 * headCountKv * headSize;
    const others = 2 * d * queries + 2 * queries * d + (info.gated ? 3 : 2) * 2 * d * f;
    const attention = (from: number) => 4 * queries * ((count * (count + 1) - from * (from + 1)) / 2);
    const whole = count * (keysAndValues + others) + attention(0);
    return (blockCount - 1) * whole + count * keysAndValues + last * others + attention(count - last);
}

/** K/h · D/h for each head: a product of one row with A. */
function memoryProduct({ memory, embeddingLength }: ArmtModelKeys): number {
    const keys = 2 * memory.dpfpOrder * memory.keyLength;
    return (2 * keys * embeddingLength) / memory.headCount;
}

/** Memory is read before the layer, by all rows whose K and V count, also in the last layer. */
function reads(info: ArmtModelKeys, count: number): number {
    const { embeddingLength, blockCount, memory } = info;
    return blockCount * count * (2 * embeddingLength * memory.keyLength + memoryProduct(info));
}

/** Keys, values and betas of the memory rows, and their sum into A. */
function writes(info: ArmtModelKeys): number {
    const { embeddingLength: d, blockCount, memory } = info;
    const betaCount = memory.gating ? d : memory.headCount;
    const projections = 2 * d * (memory.keyLength + d + betaCount);
    return blockCount * memory.tokenCount * (projections + memoryProduct(info));
}

/** What the memory holds under the keys already, from the second segment on. */
function corrections(info: ArmtModelKeys): number {
    return info.blockCount * info.memory.tokenCount * memoryProduct(info);
}
