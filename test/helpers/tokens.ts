import { seededRandom } from "../../src/util/random.js";

/** Random token ids; the same seed gives the same ids. */
export function textIds(count: number, vocab: number, seed = 1): number[] {
    const random = seededRandom(seed, "tokens");
    return Array.from({ length: count }, () => Math.floor(random() * vocab));
}
