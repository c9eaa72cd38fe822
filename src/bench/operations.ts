import type { ArmtModelKeys } from "../formats/gguf/armt-keys.js";

/** Multiplications and additions in matrix products; each counts as one operation. */
export interface Operations {
    readonly armt: number;
    readonly stock: number;
}

/**
 * Counts the operations that every schedule needs, from the start of a prompt to the first token after it. They are
 * products with weights, attention (causal, so half of the square) and products with the memory. In the last layer, all
 * rows need K and V, but only the memory rows and the last token need the rest.
 * @param tokens length of the prompt
 * @param segmentSize text tokens in a segment
 */
export function countOperations(info: ArmtModelKeys, tokens: number, segmentSize: number): Operations {
    const segments = Math.ceil(tokens / segmentSize);
    const { tokenCount } = info.memory;
    // the last segment stays open, so it reads memory but does not write it
    const open = tokens - (segments - 1) * segmentSize;
    // text of the segment before, in all segments but the first
    const again = info.rereadsPreviousSegment ? segmentSize : 0;
    let armt = segments > 1 ? rows(info, again + open, 1) + reads(info, again + open) : rows(info, open, 1);
    if (segments > 1) {
        const closed = (text: number) => rows(info, text + tokenCount, tokenCount) + writes(info);
        const later = closed(again + segmentSize) + reads(info, again + segmentSize + tokenCount) + corrections(info);
        armt += closed(segmentSize) + (segments - 2) * later;
    }
    const head = 2 * info.vocabSize * info.embeddingLength;
    return { armt: armt + head, stock: rows(info, tokens, 1) + head };
}

/** Operations of the base model on rows that attend to each other. Only `last` rows need all of the last layer. */
function rows(info: ArmtModelKeys, count: number, last: number): number {
    const { embeddingLength: d, feedForwardLength: f, headCount, headCountKv, headSize, blockCount } = info;
    const queries = headCount * headSize;
    const keysAndValues = 2 * d * 2 * headCountKv * headSize;
    const others = 2 * d * queries + 2 * queries * d + (info.gated ? 3 : 2) * 2 * d * f;
    const attention = (from: number) => 4 * queries * ((count * (count + 1) - from * (from + 1)) / 2);
    const whole = count * (keysAndValues + others) + attention(0);
    return (blockCount - 1) * whole + count * keysAndValues + last * others + attention(count - last);
}

/** Operations to multiply one row by A: K/h · D/h multiplications for each head. */
function memoryProduct({ memory, embeddingLength }: ArmtModelKeys): number {
    const keys = 2 * memory.dpfpOrder * memory.keyLength;
    return (2 * keys * embeddingLength) / memory.headCount;
}

/** Operations to read memory. Every row that needs K and V reads it before each layer, including the last. */
function reads(info: ArmtModelKeys, count: number): number {
    const { embeddingLength, blockCount, memory } = info;
    return blockCount * count * (2 * embeddingLength * memory.keyLength + memoryProduct(info));
}

/** Operations to write memory: keys, values and betas of the memory rows, and the update of A. */
function writes(info: ArmtModelKeys): number {
    const { embeddingLength: d, blockCount, memory } = info;
    const betaCount = memory.gating ? d : memory.headCount;
    const projections = 2 * d * (memory.keyLength + d + betaCount);
    return blockCount * memory.tokenCount * (projections + memoryProduct(info));
}

/** Operations to look up what the memory already holds for the new keys, from the second segment on. */
function corrections(info: ArmtModelKeys): number {
    return info.blockCount * info.memory.tokenCount * memoryProduct(info);
}
