import { choice, empty, literal, oneOf, type Part, type Rules, sequence } from "../gbnf.js";
import { spend } from "../Work.js";
import type { Automaton } from "./Automaton.js";
import { type CharSet, charSet, intersection, union } from "./char-set.js";
import type { State } from "./Expression.js";

/** Characters that a JSON string may contain without an escape. Surrogates are not characters. */
const plain = charSet([0x20, 0x21], [0x23, 0x5b], [0x5d, 0x7e], [0x80, 0xd7ff], [0xe000, 0x10ffff]);

/** The other characters that JSON has a short escape for. */
const escapes = new Map<number, string>([
    [0x22, '\\"'],
    [0x5c, "\\\\"],
    [0x08, "\\b"],
    [0x0c, "\\f"],
    [0x0a, "\\n"],
    [0x0d, "\\r"],
    [0x09, "\\t"]
]);

/** Length from which a class becomes a rule of its own. */
const longClass = 30;

/** Characters that have a spelling in the grammar; other controls would need a number. */
export const writable: CharSet = union(plain, charSet(...[...escapes.keys()].map((code) => [code, code] as const)));

/**
 * Adds the texts of an automaton to a grammar, one rule for each state. Each character has one spelling. States from
 * which the same texts follow, of this automaton and of others, have one rule.
 * @param automaton texts of {@link writable} characters
 * @param isString whether the text is inside of a JSON string, with JSON's escapes; otherwise it is ASCII
 */
export function printAutomaton({ states }: Automaton, rules: Rules, isString: boolean): Part {
    const known = new Map<CharSet, Part[]>();
    const spelled = (set: CharSet) => {
        const made = known.get(set) ?? spellings(set, isString, rules);
        known.set(set, made);
        return made;
    };
    const { order, cyclic } = fromEnds(states);
    const names = new Map(cyclic.map((state) => [state, rules.reserve()]));
    const bodyOf = ({ accepts, edges }: State) => {
        spend(1 + 2 * edges.length);
        const ways = edges.flatMap(({ set, to }) =>
            spelled(set).map((spelling) => {
                const { edges: next, accepts: ends } = states[to]!;
                return ends && next.length === 0 ? spelling : sequence(spelling, names.get(to)!);
            })
        );
        return choice(...ways, ...(accepts || ways.length === 0 ? [empty] : []));
    };
    for (const state of order) names.set(state, rules.add(bodyOf(states[state]!)));
    for (const state of cyclic) rules.set(names.get(state)!, bodyOf(states[state]!));
    return names.get(0)!;
}

/** The states with an end to their texts, each after those that follow it, and the states before a cycle. */
function fromEnds(states: readonly State[]): { order: readonly number[]; cyclic: readonly number[] } {
    const before = states.map((): number[] => []);
    for (const [from, { edges }] of states.entries()) for (const { to } of edges) before[to]!.push(from);
    const left = states.map(({ edges }) => edges.length);
    const order = [...states.keys()].filter((state) => left[state] === 0);
    for (const state of order) for (const from of before[state]!) if (--left[from]! === 0) order.push(from);
    return { order, cyclic: [...states.keys()].filter((state) => left[state]! > 0) };
}

function spellings(set: CharSet, isString: boolean, rules: Rules): Part[] {
    const written = intersection(set, plain);
    spend(1 + 2 * set.length);
    const name = oneOf(written.map(toClass).join(""));
    // the letters of all scripts, for example, are written once
    const plainPart = written.length === 0 ? [] : [name.length > longClass ? rules.add(name) : name];
    if (!isString) return plainPart;
    const escaped = [...escapes].filter(([code]) => intersection(set, [[code, code]]).length > 0);
    return [...plainPart, ...escaped.map(([, spelling]) => literal(spelling))];
}

function toClass([first, last]: readonly [number, number]): string {
    return first === last ? spell(first) : `${spell(first)}-${spell(last)}`;
}

function spell(code: number): string {
    const character = String.fromCodePoint(code);
    if (/[A-Za-z0-9]/.test(character)) return character;
    return code < 0x100 ? `\\x${hex(code, 2)}` : code < 0x10000 ? `\\u${hex(code, 4)}` : `\\U${hex(code, 8)}`;
}

function hex(code: number, digits: number): string {
    return code.toString(16).toUpperCase().padStart(digits, "0");
}
