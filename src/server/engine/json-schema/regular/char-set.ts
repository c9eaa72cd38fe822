/** Characters as ascending ranges of code points that neither touch nor overlap. Both ends are included. */
export type CharSet = readonly (readonly [first: number, last: number])[];

export const maxCodePoint = 0x10ffff;
export const anyCharacter: CharSet = [[0, maxCodePoint]];

export function charSet(...ranges: readonly (readonly [first: number, last: number])[]): CharSet {
    const sorted = [...ranges].sort((a, b) => a[0] - b[0]);
    const result: [number, number][] = [];
    for (const [first, last] of sorted) {
        const before = result.at(-1);
        if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last);
        else result.push([first, last]);
    }
    return result;
}

export function union(...sets: readonly CharSet[]): CharSet {
    return charSet(...sets.flat());
}

export function complement(set: CharSet): CharSet {
    const result: [number, number][] = [];
    let next = 0;
    for (const [first, last] of set) {
        if (first > next) result.push([next, first - 1]);
        next = last + 1;
    }
    if (next <= maxCodePoint) result.push([next, maxCodePoint]);
    return result;
}

export function intersection(a: CharSet, b: CharSet): CharSet {
    const result: [number, number][] = [];
    for (let i = 0, j = 0; i < a.length && j < b.length; ) {
        const first = Math.max(a[i]![0], b[j]![0]);
        const last = Math.min(a[i]![1], b[j]![1]);
        if (first <= last) result.push([first, last]);
        if (a[i]![1] < b[j]![1]) i++;
        else j++;
    }
    return result;
}

const single = new Map<string, CharSet>();

/** The characters of a text. Those of ASCII are the same objects each time, which {@link pieces} makes use of. */
export function charsOf(text: string): CharSet {
    const known = single.get(text);
    if (known !== undefined) return known;
    const points = [...text].map((character) => character.codePointAt(0)!);
    const made = charSet(...points.map((point) => [point, point] as const));
    if (points.length === 1 && points[0]! < 0x80) single.set(text, made);
    return made;
}
