/**
 * Chooses the segment ends of a prompt that get a checkpoint: the 1st, 2nd, 4th, 8th … from the start, for prompts that
 * start alike, and from the end, for prompts that go back a little. A prompt of n segments gets about 2·log2(n).
 * @param ends in ascending order
 * @param interval smallest distance between two checkpoints. Unit: tokens
 */
export function chooseCheckpoints(ends: readonly number[], interval: number): number[] {
    const chosen: number[] = [];
    let next = Number.POSITIVE_INFINITY;
    for (let i = ends.length; i >= 1; i--) {
        const end = ends[i - 1]!;
        if (!isPowerOfTwo(i) && !isPowerOfTwo(ends.length - i + 1)) continue;
        if (next - end < interval) continue;
        chosen.unshift(end);
        next = end;
    }
    return chosen;
}

function isPowerOfTwo(n: number): boolean {
    return Number.isInteger(Math.log2(n));
}
