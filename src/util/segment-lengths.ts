/** Lengths of the segments that n tokens are split into: the last, the first or none of them is short. */
export function segmentLengths(n: number, size: number, alignment: "left" | "right" | "center"): number[] {
    const count = Math.ceil(n / size);
    const each = alignment === "center" ? Math.ceil(n / count) : size;
    const lengths = Array.from({ length: Math.ceil(n / each) }, (_, i) => Math.min(each, n - i * each));
    return alignment === "right" ? lengths.reverse() : lengths;
}
