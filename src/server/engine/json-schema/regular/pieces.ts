import { spend } from "../Work.js";
import type { CharSet } from "./char-set.js";
import type { Edge } from "./Expression.js";

/** Characters that the same edges of a state lead on. */
export interface Piece {
    readonly ranges: CharSet;
    readonly to: readonly number[];
}

/** The characters of edges, divided so that each edge leads all characters of a piece on, or none. */
export function pieces(edges: readonly Edge[]): Piece[] {
    spend(2 + edges.length);
    // most edges share few sets
    const bySet = new Map<CharSet, number[]>();
    for (const { set, to } of edges) {
        if (set.length === 0) continue;
        const known = bySet.get(set);
        if (known === undefined) bySet.set(set, [to]);
        else known.push(to);
    }
    if (bySet.size === 1) return [...bySet].map(([ranges, to]) => ({ ranges, to }));
    const all = new Set<number>();
    for (const set of bySet.keys())
        for (const [first, last] of set) {
            all.add(first);
            all.add(last + 1);
        }
    const cuts = Int32Array.from(all).sort();
    spend(3 * cuts.length);
    const places = new Map<number, number>();
    for (const [i, cut] of cuts.entries()) places.set(cut, i);
    // the sets divide the characters one after another; class 0 is in no set
    const classes = new Int32Array(cuts.length);
    const targets: (readonly number[])[] = [[]];
    for (const [set, to] of bySet) {
        const within = new Map<number, number>();
        for (const [first, last] of set) {
            const end = places.get(last + 1)!;
            for (let i = places.get(first)!; i < end; i++) {
                const before = classes[i]!;
                let now = within.get(before);
                if (now === undefined) {
                    now = targets.push([...targets[before]!, ...to]) - 1;
                    spend(2 + targets[now]!.length / 4);
                    within.set(before, now);
                }
                classes[i] = now;
            }
            spend(1 + (end - places.get(first)!) / 4);
        }
    }
    const ranges = new Map<number, [number, number][]>();
    for (let i = 0; i + 1 < cuts.length; i++) {
        const known = ranges.get(classes[i]!);
        const range: [number, number] = [cuts[i]!, cuts[i + 1]! - 1];
        if (known === undefined) ranges.set(classes[i]!, [range]);
        else known.push(range);
    }
    return [...ranges].flatMap(([index, own]) => (index === 0 ? [] : [{ ranges: own, to: targets[index]! }]));
}
