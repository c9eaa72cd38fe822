/** A matrix product's weights in float64. */
export type Linear = {
    /** [outputs, inputs], inputs fastest. */
    weight: Float64Array;
    /** [outputs] */
    bias?: Float64Array;
    inputs: number;
    outputs: number;
};

/** W x + b: [inputs] => [outputs] */
export function applyLinear({ weight, bias, inputs, outputs }: Linear, x: Float64Array): Float64Array {
    const result = new Float64Array(outputs);
    for (let row = 0; row < outputs; row++) {
        const start = row * inputs;
        let sum = bias === undefined ? 0 : bias[row]!;
        for (let i = 0; i < inputs; i++) sum += weight[start + i]! * x[i]!;
        result[row] = sum;
    }
    return result;
}

/** A norm's weights in float64: LayerNorm if there is a bias, otherwise RMS norm. */
export type Norm = { weight: Float64Array; bias?: Float64Array; epsilon: number };

/** x / rms(x) * weight, or (x - mean(x)) / deviation(x) * weight + bias */
export function applyNorm({ weight, bias, epsilon }: Norm, x: Float64Array): Float64Array {
    const mean = bias === undefined ? 0 : x.reduce((sum, value) => sum + value, 0) / x.length;
    let squares = 0;
    for (const value of x) squares += (value - mean) ** 2;
    const scale = 1 / Math.sqrt(squares / x.length + epsilon);
    return x.map((value, i) => (value - mean) * scale * weight[i]! + (bias === undefined ? 0 : bias[i]!));
}

/** Adds `x` to `target` in place. */
export function addTo(target: Float64Array, x: Float64Array): void {
    for (let i = 0; i < target.length; i++) target[i]! += x[i]!;
}

/** Index of the largest value; the first of equal ones. */
export function argmax(values: ArrayLike<number>): number {
    let best = 0;
    for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
    return best;
}
