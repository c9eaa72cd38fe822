/** The base model's rotary position embedding, from `config.json`. */
export type RopeConfig =
    | { type: "default"; theta: number }
    | { type: "linear"; theta: number; factor: number }
    | {
          type: "llama3";
          theta: number;
          factor: number;
          lowFreqFactor: number;
          highFreqFactor: number;
          originalMaxPositions: number;
      };

/** Radians per position for each of the rotaryDim / 2 pairs. */
export function ropeFrequencies(rope: RopeConfig, rotaryDim: number): Float64Array {
    const frequencies = new Float64Array(rotaryDim / 2);
    for (let i = 0; i < frequencies.length; i++) {
        const frequency = rope.theta ** (-(2 * i) / rotaryDim);
        if (rope.type === "default") frequencies[i] = frequency;
        else if (rope.type === "linear") frequencies[i] = frequency / rope.factor;
        else frequencies[i] = llama3Frequency(frequency, rope);
    }
    return frequencies;
}

/** Llama 3.1's rule: long wavelengths are stretched by `factor`, short ones kept, those between blended. */
function llama3Frequency(frequency: number, rope: RopeConfig & { type: "llama3" }): number {
    const turns = (rope.originalMaxPositions * frequency) / (2 * Math.PI);
    if (turns < rope.lowFreqFactor) return frequency / rope.factor;
    if (turns > rope.highFreqFactor) return frequency;
    const share = (turns - rope.lowFreqFactor) / (rope.highFreqFactor - rope.lowFreqFactor);
    return ((1 - share) * frequency) / rope.factor + share * frequency;
}

/** Rotates the start of every head of a row in place; element i pairs with i + rotaryDim / 2. */
export function rotate(row: Float64Array, position: number, frequencies: Float64Array, headDim: number): void {
    const half = frequencies.length;
    for (let head = 0; head < row.length; head += headDim) {
        for (let i = 0; i < half; i++) {
            const angle = position * frequencies[i]!;
            const a = row[head + i]!;
            const b = row[head + half + i]!;
            row[head + i] = a * Math.cos(angle) - b * Math.sin(angle);
            row[head + half + i] = b * Math.cos(angle) + a * Math.sin(angle);
        }
    }
}
