import { LRUCache } from "lru-cache";
import type { Automaton } from "./regular/Automaton.js";
import { measured, spend, spendOnce } from "./Work.js";

/** Size of all automata that a {@link Memo} keeps, in numbers and characters. */
const maxSize = 2 ** 22;

/** Automata of earlier requests: clients send the same schemas again and again. */
export class Memo<Made extends Automaton | readonly Automaton[]> {
    private readonly known = new LRUCache<string, { readonly result: Made; readonly steps: number }>({
        maxSize,
        sizeCalculation: ({ result }, key) =>
            [result].flat().reduce((size, each) => size + sizeOf(each), key.length + 1)
    });

    /** @param isSharedByGrammar whether a grammar counts the steps of a key once. Default: each time */
    constructor(private readonly isSharedByGrammar = false) {}

    /** What is known costs as many steps as at first, so that a schema is accepted each time or never. */
    get(key: string, make: () => Made): Made {
        const known = this.known.get(key);
        const made = known ?? measured(make);
        if (known === undefined) this.known.set(key, made);
        if (this.isSharedByGrammar) spendOnce(this, key, known?.steps ?? 0);
        else if (known !== undefined) spend(known.steps);
        return made.result;
    }
}

function sizeOf({ states }: Automaton): number {
    return states.reduce((size, { edges }) => edges.reduce((sum, { set }) => sum + 4 + 2 * set.length, size + 4), 0);
}
