/** A measured quantity: its median and its spread. */
export type Summary = { median: number; min: number; max: number; samples: number[] };

export function summarize(samples: readonly number[]): Summary {
    const sorted = [...samples].sort((a, b) => a - b);
    const middle = sorted.length / 2;
    const median = (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
    return { median, min: sorted[0]!, max: sorted.at(-1)!, samples: [...samples] };
}

/**
 * Ratio of two quantities measured in turn. It is taken within each round, since a temporary slowdown of the machine
 * affects both quantities.
 */
export function ratios(numerator: readonly number[], denominator: readonly number[]): Summary {
    return summarize(numerator.map((x, i) => x / denominator[i]!));
}
