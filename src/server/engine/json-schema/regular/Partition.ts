import { spend } from "../Work.js";
import type { CharSet } from "./char-set.js";
import type { State } from "./Expression.js";
import { pieces } from "./pieces.js";

/** Groups of states that accept the same rests of a text (Hopcroft 1971; without a dead state, Valmari 2008). */
export class Partition {
    private readonly group: Int32Array;
    private readonly members: Set<number>[] = [];
    /** For each class of characters and each state, the states that lead to it. */
    private readonly before: ReadonlyMap<number, readonly number[]>[];

    /** @param states all of them lead to one that accepts */
    constructor(states: readonly State[]) {
        this.before = backwards(states);
        this.group = new Int32Array(states.length);
        const ends = new Set(states.flatMap(({ accepts }, i) => (accepts ? [i] : [])));
        const others = new Set([...states.keys()].filter((i) => !ends.has(i)));
        for (const members of [ends, others])
            if (members.size > 0) {
                for (const state of members) this.group[state] = this.members.length;
                this.members.push(members);
            }
    }

    /** The group of each state. */
    groups(): Int32Array {
        const open = this.members.flatMap((_, group) => this.before.map((_, letter) => [group, letter] as const));
        for (let next = open.pop(); next !== undefined; next = open.pop()) {
            const [splitter, letter] = next;
            const found = new Map<number, number[]>();
            spend(2 + 2 * this.members[splitter]!.size);
            for (const state of this.members[splitter]!)
                for (const from of this.before[letter]!.get(state) ?? []) {
                    const group = this.group[from]!;
                    const inside = found.get(group);
                    spend(1);
                    if (inside === undefined) found.set(group, [from]);
                    else inside.push(from);
                }
            for (const [group, inside] of found)
                if (inside.length < this.members[group]!.size) {
                    const added = this.split(group, inside);
                    for (const each of this.before.keys()) open.push([added, each]);
                }
        }
        return this.group;
    }

    /** Divides a group in two. The smaller half gets a new number, which is returned. */
    private split(group: number, inside: readonly number[]): number {
        const whole = this.members[group]!;
        for (const state of inside) whole.delete(state);
        const taken = new Set(inside);
        const [large, small] = whole.size >= taken.size ? [whole, taken] : [taken, whole];
        this.members[group] = large;
        const added = this.members.push(small) - 1;
        spend(10 + 2 * small.size);
        for (const state of small) this.group[state] = added;
        return added;
    }
}

/** For each class of characters that no edge tells apart, the states before each state. */
function backwards(states: readonly State[]): ReadonlyMap<number, readonly number[]>[] {
    const numbers = new Map<string, number>();
    const known = new Map<CharSet, number>();
    const numberOf = (set: CharSet) => {
        spend(set.length);
        const key = set.join();
        const number = numbers.get(key) ?? sets.push(set) - 1;
        numbers.set(key, number);
        known.set(set, number);
        return number;
    };
    const sets: CharSet[] = [];
    const steps: [from: number, to: number][][] = [];
    for (const [from, { edges }] of states.entries())
        for (const { set, to } of edges) {
            spend(1);
            const number = known.get(set) ?? numberOf(set);
            steps[number] ??= [];
            steps[number].push([from, to]);
        }
    const letters = new Map(pieces(sets.map((set, to) => ({ set, to }))).map(({ to }) => [to.join(), to]));
    return [...letters.values()].map((own) => {
        const before = new Map<number, number[]>();
        for (const [from, to] of own.flatMap((number) => steps[number]!)) {
            spend(1);
            const known = before.get(to);
            if (known === undefined) before.set(to, [from]);
            else known.push(from);
        }
        return before;
    });
}
