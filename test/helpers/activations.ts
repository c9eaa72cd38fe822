/** x * sigmoid(x) */
export function silu(x: number): number {
    return x / (1 + Math.exp(-x));
}

/** GELU, tanh approximation. */
export function geluTanh(x: number): number {
    return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

/** x * Φ(x) */
export function gelu(x: number): number {
    return 0.5 * x * (1 + erf(x / Math.SQRT2));
}

/**
 * The error function in float64: a series near 0 and a continued fraction of its complement elsewhere (Abramowitz and
 * Stegun 7.1.5 and 7.1.14).
 */
export function erf(x: number): number {
    const a = Math.abs(x);
    if (a > 6) return Math.sign(x);
    if (a < 2.5) {
        let term = a;
        let sum = a;
        for (let n = 1; Math.abs(term) > 1e-18; n++) {
            term *= (-a * a) / n;
            sum += term / (2 * n + 1);
        }
        return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI);
    }
    let fraction = a;
    for (let k = 80; k >= 1; k--) fraction = a + k / 2 / fraction;
    return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / fraction);
}
