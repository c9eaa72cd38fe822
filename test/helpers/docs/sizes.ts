/** The numbers that determine the sizes of a context. */
export type Shape = {
    /** L, D, F. */
    layers: number;
    width: number;
    feedForward: number;
    /** Heads of K and V, and the size of one. */
    kvHeads: number;
    headSize: number;
    /** M, d_mem, heads of the memory, and whether it has a normalizer. */
    memoryTokens: number;
    keyLength: number;
    memoryHeads: number;
    useDenom: boolean;
};

export type ContextShape = {
    /** S, and the largest size of an open segment. Unit: tokens. */
    segmentSize: number;
    openSegmentLimit: number;
    schedule: "sequential" | "diagonal";
    /** Bytes of one number in the K/V cache. */
    kvBytes: number;
    sequences: number;
    /** Sequences whose segments enter the shared diagonals together; 0: each sequence has its own diagonals. */
    textsPerLayer: number;
};

/** The formulas of docs/performance.md, which are upper bounds. Unit: bytes. */
export function memoryBytes({ layers, width, keyLength, memoryHeads, useDenom }: Shape): number {
    return 4 * layers * 6 * keyLength * roundUp(width / memoryHeads + (useDenom ? 1 : 0), 4);
}

export function openSegmentBytes(shape: Shape, { openSegmentLimit, kvBytes }: ContextShape): number {
    const rows = roundUp(openSegmentLimit + shape.memoryTokens, 256);
    return kvBytes * 2 * shape.layers * shape.kvHeads * shape.headSize * rows;
}

export function pipelineBytes(shape: Shape, { segmentSize, schedule }: ContextShape): number {
    return schedule === "diagonal" ? 4 * (shape.layers + 1) * shape.width * (segmentSize + shape.memoryTokens) : 0;
}

/** Of a sequence that shares its diagonals with no other. */
export function sequenceBytes(shape: Shape, context: ContextShape): number {
    return memoryBytes(shape) + openSegmentBytes(shape, context) + pipelineBytes(shape, context);
}

/** What the sequences share, once per context: rows in flight, K/V, one memory for nobody. */
export function sharedBytes(shape: Shape, context: ContextShape): number {
    const { textsPerLayer, segmentSize } = context;
    if (textsPerLayer === 0) return 0;
    const cells = openSegmentBytes(shape, { ...context, openSegmentLimit: segmentSize });
    const positions = 12 * shape.layers * (segmentSize + shape.memoryTokens);
    return textsPerLayer * (pipelineBytes(shape, context) + cells + positions) + memoryBytes(shape);
}

/** The mask and the positions of a segment, once per context. */
export function constantBytes({ layers, memoryTokens }: Shape, { segmentSize }: ContextShape): number {
    const rows = segmentSize + memoryTokens;
    return 2 * rows * roundUp(rows, 256) + 12 * layers * rows;
}

export function contextBytes(shape: Shape, context: ContextShape): number {
    const own = sequenceBytes(shape, context) - (context.textsPerLayer > 0 ? pipelineBytes(shape, context) : 0);
    return context.sequences * own + sharedBytes(shape, context) + constantBytes(shape, context);
}

/** @param cells number of layers that are computed at once */
export function workingBytes(shape: Shape, { segmentSize, textsPerLayer }: ContextShape, cells: number): number {
    const { feedForward, width, layers, memoryTokens } = shape;
    const rows = segmentSize + memoryTokens;
    const bytes = 4 * cells * rows * 3 * (feedForward + width);
    if (textsPerLayer === 0) return bytes;
    return textsPerLayer * (bytes + (memoryBytes(shape) * cells) / layers) + 2 * rows * roundUp(rows, 256);
}

function roundUp(value: number, multiple: number): number {
    return Math.ceil(value / multiple) * multiple;
}
