import { seededRandom } from "../../util/random.js";

/** Draws at random from lists, with a seed. */
export class Draw {
    private readonly random: () => number;

    /** @param name draws of different names are independent of each other */
    constructor(seed: number, name: string) {
        this.random = seededRandom(seed, name);
    }

    /** From [0, 1). */
    next(): number {
        return this.random();
    }

    /** From `low` to `high`, both included. */
    integer(low: number, high: number): number {
        return low + Math.floor(this.random() * (high - low + 1));
    }

    from<T>(list: readonly T[]): T {
        return list[Math.floor(this.random() * list.length)]!;
    }

    /** A copy in random order. */
    shuffle<T>(list: readonly T[]): T[] {
        const copy = [...list];
        for (let i = copy.length - 1; i > 0; i--) {
            const j = this.integer(0, i);
            [copy[i], copy[j]] = [copy[j]!, copy[i]!];
        }
        return copy;
    }

    /** `count` depths in ascending order, each from [0, 1). */
    depths(count: number): number[] {
        return Array.from({ length: count }, () => this.next()).sort((a, b) => a - b);
    }
}
