import { seededRandom } from "../../src/util/random.js";

/** Token ids of a prompt without meaning, the same for the same seed. */
export function textIds(count: number, vocab: number, seed = 1): number[] {
    const random = seededRandom(seed, "tokens");
    return Array.from({ length: count }, () => Math.floor(random() * vocab));
}
