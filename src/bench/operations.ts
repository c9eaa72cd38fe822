import type { ArmtModelFacts } from "../formats/gguf/armt-keys.js";

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
export function countOperations(facts: ArmtModelFacts, tokens: number, segmentSize: number): Operations {
    const segments = Math.ceil(tokens / segmentSize);
    const { tokenCount } = facts.memory;
    // the last segment stays open: it reads memory and writes nothing
    const open = tokens - (segments - 1) * segmentSize;
    let armt = rows(facts, open, 1) + (segments > 1 ? reads(facts, open) : 0);
    if (segments > 1) {
        const closed = rows(facts, segmentSize + tokenCount, tokenCount);
        armt += (segments - 1) * (closed + writes(facts));
        armt += (segments - 2) * (reads(facts, segmentSize + tokenCount) + corrections(facts));
    }
    const head = 2 * facts.vocabSize * facts.embeddingLength;
    return { armt: armt + head, stock: rows(facts, tokens, 1) + head };
}

/** The base model over rows that attend to each other; `last` of them go through all of the last layer. */
function rows(facts: ArmtModelFacts, count: number, last: number): number {
    const { embeddingLength: d, feedForwardLength: f, headCount, headCountKv, headSize, blockCount } = facts;
    const queries = headCount * headSize;
    const keysAndValues = 2 * d * 2 * headCountKv * headSize;
    const others = 2 * d * queries + 2 * queries * d + (facts.gated ? 3 : 2) * 2 * d * f;
    const attention = (from: number) => 4 * queries * ((count * (count + 1) - from * (from + 1)) / 2);
    const whole = count * (keysAndValues + others) + attention(0);
    return (blockCount - 1) * whole + count * keysAndValues + last * others + attention(count - last);
}

/** K/h · D/h for each head: a product of one row with A. */
function memoryProduct({ memory, embeddingLength }: ArmtModelFacts): number {
    const keys = 2 * memory.dpfpOrder * memory.keyLength;
    return (2 * keys * embeddingLength) / memory.headCount;
}

/** Memory is read before the layer, by all rows whose K and V count, also in the last layer. */
function reads(facts: ArmtModelFacts, count: number): number {
    const { embeddingLength, blockCount, memory } = facts;
    return blockCount * count * (2 * embeddingLength * memory.keyLength + memoryProduct(facts));
}

/** Keys, values and strengths of the memory rows, and their sum into A. */
function writes(facts: ArmtModelFacts): number {
    const { embeddingLength: d, blockCount, memory } = facts;
    const strengths = memory.gating ? d : memory.headCount;
    const projections = 2 * d * (memory.keyLength + d + strengths);
    return blockCount * memory.tokenCount * (projections + memoryProduct(facts));
}

/** What the memory holds under the keys already, from the second segment on. */
function corrections(facts: ArmtModelFacts): number {
    return facts.blockCount * facts.memory.tokenCount * memoryProduct(facts);
}
