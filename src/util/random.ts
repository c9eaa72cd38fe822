/**
 * A random generator that depends only on a seed and a name. Its numbers are the same on every machine, whatever other
 * generators draw. Not for secrets.
 * @returns a function that draws from [0, 1)
 */
export function seededRandom(seed: number, name: string): () => number {
    // FNV-1a mixes the name into the seed.
    let state = (seed ^ 0x811c9dc5) >>> 0;
    for (let i = 0; i < name.length; i++) state = Math.imul(state ^ name.charCodeAt(i), 0x01000193) >>> 0;
    // Mulberry32: a counter, hashed
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let x = Math.imul(state ^ (state >>> 15), state | 1);
        x = (x + Math.imul(x ^ (x >>> 7), x | 61)) ^ x;
        return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
    };
}

/** `count` numbers from a normal distribution, drawn in pairs (Box-Muller). */
export function normalValues(random: () => number, count: number, mean: number, deviation: number): Float32Array {
    const values = new Float32Array(count);
    for (let i = 0; i < count; i += 2) {
        const radius = deviation * Math.sqrt(-2 * Math.log(1 - random()));
        const angle = 2 * Math.PI * random();
        values[i] = mean + radius * Math.cos(angle);
        if (i + 1 < count) values[i + 1] = mean + radius * Math.sin(angle);
    }
    return values;
}
