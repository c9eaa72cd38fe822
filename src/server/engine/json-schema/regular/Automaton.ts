import { spend } from "../Work.js";
import { anyCharacter, type CharSet, charSet, complement, intersection, union } from "./char-set.js";
import {
    anyText,
    choice,
    type Edge,
    type Expression,
    nothing,
    type State,
    sequence,
    some,
    startOfText
} from "./Expression.js";
import { Partition } from "./Partition.js";
import { PatternError, parsePattern } from "./parse-pattern.js";
import { pieces } from "./pieces.js";

/** Limits that no sensible pattern reaches. {@link spend} limits the time. */
const maxNodes = 10_000;
/** Above all states and lengths, to name a pair by one number. */
const pairs = 2 ** 20;
const maxStates = 2500;

/** A pattern has too many states. */
export class AutomatonSizeError extends Error {
    override name = "AutomatonSizeError";
}

/** A deterministic finite automaton over code points. State 0 is the first one. */
export class Automaton {
    private constructor(readonly states: readonly State[]) {}

    /**
     * The texts that an expression matches from their beginning to their end.
     * @throws {AutomatonSizeError}
     */
    static of(expression: Expression): Automaton {
        return new Automaton(determinize(new Nodes(expression))).minimized();
    }

    /**
     * The texts in which a pattern matches somewhere, as in JSON Schema: those that all of these automata accept.
     * Together with a smaller automaton, their intersection may be small too.
     * @throws {PatternError}
     * @throws {AutomatonSizeError}
     */
    static ofPattern(source: string): Automaton[] {
        const pattern = parsePattern(source);
        const parts = pattern.kind === "sequence" ? [...pattern.parts] : [pattern];
        const all: Automaton[] = [];
        if (parts[0] === startOfText)
            for (let next = parts[1]; next?.kind === "ahead"; next = parts[1]) {
                all.push(lookAhead(next, true));
                parts.splice(1, 1);
            }
        return [Automaton.of(withoutAhead(sequence(...parts), anyText, [anyText])), ...all];
    }

    /**
     * An automaton whose states, named by numbers, are found from a first one.
     * @param expand the steps from a state, whose sets must not overlap
     * @throws {AutomatonSizeError}
     */
    static ofStates(
        first: number,
        expand: (state: number) => readonly (readonly [set: CharSet, to: number])[],
        accepts: (state: number) => boolean
    ): Automaton {
        const ids = new Map([[first, 0]]);
        const names = [first];
        const idOf = (name: number) => {
            const known = ids.get(name);
            if (known !== undefined) return known;
            if (names.length >= maxStates) throw new AutomatonSizeError();
            ids.set(name, names.length);
            return names.push(name) - 1;
        };
        const states: State[] = [];
        for (let i = 0; i < names.length; i++) {
            const name = names[i]!;
            const edges = expand(name).map(([set, to]) => ({ set, to: idOf(to) }));
            spend(3 + 3 * edges.length);
            states.push({ accepts: accepts(name), edges });
        }
        return new Automaton(states).trimmed();
    }

    get isEmpty(): boolean {
        return !this.states.some(({ accepts }) => accepts);
    }

    /** The texts that this automaton refuses. */
    not(): Automaton {
        const sink = this.states.length;
        const states = this.states.map(({ accepts, edges }) => {
            const rest = complement(union(...edges.map(({ set }) => set)));
            spend(1 + 4 * edges.length + rest.length);
            return { accepts: !accepts, edges: rest.length === 0 ? edges : [...edges, { set: rest, to: sink }] };
        });
        return new Automaton([...states, { accepts: true, edges: [{ set: anyCharacter, to: sink }] }]).trimmed();
    }

    /** The texts that both accept, with as few states as possible. */
    and(other: Automaton): Automaton {
        return this.common(other).minimized();
    }

    /** The texts that both accept. */
    common(other: Automaton): Automaton {
        const shared = new Map<CharSet, Map<CharSet, CharSet>>();
        const sharedBy = (left: CharSet, right: CharSet) => {
            spend(1);
            const known = shared.get(left)?.get(right);
            if (known !== undefined) return known;
            spend((left.length + right.length) / 3);
            const made = intersection(left, right);
            shared.set(left, (shared.get(left) ?? new Map<CharSet, CharSet>()).set(right, made));
            return made;
        };
        return this.product(
            (from, step) => {
                const [a, b] = from;
                for (const left of this.states[a]!.edges)
                    for (const right of other.states[b]!.edges) {
                        const set = sharedBy(left.set, right.set);
                        if (set.length > 0) step(set, [left.to, right.to]);
                    }
            },
            ([a, b]) => this.states[a]!.accepts && other.states[b]!.accepts
        );
    }

    /** The texts of this automaton with a number of characters. */
    ofLength(min: number, max = Number.POSITIVE_INFINITY): Automaton {
        if (min === 0 && max === Number.POSITIVE_INFINITY) return this;
        const highest = max === Number.POSITIVE_INFINITY ? min : max;
        return this.product(
            ([state, length], step) => {
                if (length === max) return;
                for (const { set, to } of this.states[state]!.edges) step(set, [to, Math.min(highest, length + 1)]);
            },
            ([state, length]) => this.states[state]!.accepts && length >= min
        );
    }

    /** Whether it accepts a text. */
    accepts(text: string): boolean {
        let state = 0;
        for (const character of text) {
            spend(1 + this.states[state]!.edges.length);
            const point = character.codePointAt(0)!;
            const edge = this.states[state]!.edges.find(({ set }) =>
                set.some(([first, last]) => point >= first && point <= last)
            );
            if (edge === undefined) return false;
            state = edge.to;
        }
        return this.states[state]!.accepts;
    }

    /** Lengths of its shortest and its longest text; the latter is infinite if there is a cycle. */
    get lengths(): { min: number; max: number } {
        let min = Number.POSITIVE_INFINITY;
        let longest = 0;
        let reached = new Set([0]);
        for (let length = 0; length <= this.states.length && reached.size > 0; length++) {
            if ([...reached].some((state) => this.states[state]!.accepts)) {
                min = Math.min(min, length);
                longest = length;
            }
            spend(4 * reached.size);
            reached = new Set([...reached].flatMap((state) => this.states[state]!.edges.map(({ to }) => to)));
        }
        return { min, max: reached.size > 0 ? Number.POSITIVE_INFINITY : longest };
    }

    private product(
        expand: (from: readonly [number, number], step: (set: CharSet, to: readonly [number, number]) => void) => void,
        accepts: (from: readonly [number, number]) => boolean
    ): Automaton {
        const pairOf = (name: number) => [Math.floor(name / pairs), name % pairs] as const;
        return Automaton.ofStates(
            0,
            (name) => {
                const steps: [CharSet, number][] = [];
                expand(pairOf(name), (set, [a, b]) => steps.push([set, a * pairs + b]));
                return steps;
            },
            (name) => accepts(pairOf(name))
        );
    }

    /** Without states from which no text can end. */
    private trimmed(): Automaton {
        const { states } = this;
        const before = states.map((): number[] => []);
        for (const [from, { edges }] of states.entries()) for (const { to } of edges) before[to]!.push(from);
        const alive = new Set<number>();
        const open = states.flatMap(({ accepts }, i) => (accepts ? [i] : []));
        for (let state = open.pop(); state !== undefined; state = open.pop()) {
            if (alive.has(state)) continue;
            alive.add(state);
            open.push(...before[state]!);
        }
        const kept = [...states.keys()].filter((state) => state === 0 || alive.has(state));
        const names = new Map(kept.map((state, i) => [state, i]));
        return new Automaton(
            kept.map((state) => ({
                accepts: states[state]!.accepts,
                edges: states[state]!.edges.filter(({ to }) => alive.has(to)).map(({ set, to }) => ({
                    set,
                    to: names.get(to)!
                }))
            }))
        );
    }

    /** The same texts with as few states as possible. */
    minimized(): Automaton {
        const { states } = this.trimmed();
        const groups = new Partition(states).groups();
        // the first state must stay the first one
        const order = [...new Set(groups)];
        const names = new Map(order.map((group, i) => [group, i]));
        const members = new Map<number, State>();
        for (const [i, group] of groups.entries()) if (!members.has(group)) members.set(group, states[i]!);
        return new Automaton(
            order.map((group) => {
                const state = members.get(group)!;
                const byTarget = new Map<number, CharSet[]>();
                for (const { set, to } of state.edges) {
                    const name = names.get(groups[to]!)!;
                    const sets = byTarget.get(name);
                    if (sets === undefined) byTarget.set(name, [set]);
                    else sets.push(set);
                }
                return {
                    accepts: state.accepts,
                    edges: [...byTarget].map(([to, sets]) => ({
                        set: sets.length === 1 ? sets[0]! : union(...sets),
                        to
                    }))
                };
            })
        );
    }
}

type Ahead = Extract<Expression, { kind: "ahead" }>;

const isAhead = (expression: Expression) => expression.kind === "ahead";
const isStart = (expression: Expression) => expression === startOfText;

/** The rests of a text that an assertion accepts. */
function lookAhead({ part, negative }: Ahead, isAtStart: boolean): Automaton {
    if (!isAtStart && some(part, isStart)) throw new PatternError("has ^ in an assertion that is not at its beginning");
    const begin = isAtStart ? startOfText : nothing;
    const matching = Automaton.of(withoutAhead(part, anyText, [begin]));
    return negative ? matching.not() : matching;
}

/**
 * An expression without assertions for `before`, an expression, and what follows it up to the end of the text. What
 * follows an assertion is intersected with what it accepts.
 */
function withoutAhead(expression: Expression, rest: Expression, before: readonly Expression[] = []): Expression {
    return sequence(...before, resolve(expression, rest));
}

function resolve(expression: Expression, rest: Expression): Expression {
    if (!some(expression, isAhead)) return sequence(expression, rest);
    switch (expression.kind) {
        case "sequence":
            return expression.parts.reduceRight<Expression>((after, part) => resolve(part, after), rest);
        case "choice":
            return choice(...expression.parts.map((part) => resolve(part, rest)));
        case "ahead": {
            if (some(rest, isStart)) throw new PatternError("has ^ after an assertion");
            return { kind: "automaton", automaton: Automaton.of(rest).and(lookAhead(expression, false)) };
        }
        case "repeat": {
            const { part, min, max } = expression;
            if (max > maxRepeatedAhead) throw new PatternError("repeats an assertion");
            let after = rest;
            for (let i = max; i > 0; i--) after = i > min ? choice(resolve(part, after), rest) : resolve(part, after);
            return after;
        }
        default:
            return sequence(expression, rest);
    }
}

/** Repetitions that are written out, if each has an assertion. */
const maxRepeatedAhead = 10;

type Condition = "start" | "end" | undefined;

/** A nondeterministic automaton (Thompson 1968). */
class Nodes {
    readonly silent: { readonly to: number; readonly condition: Condition }[][] = [];
    readonly reading: Edge[][] = [];
    readonly first: number;
    readonly last: number;

    constructor(expression: Expression) {
        this.first = this.add();
        this.last = this.add();
        this.build(expression, this.first, this.last);
    }

    private add(): number {
        if (this.silent.length >= maxNodes) throw new AutomatonSizeError();
        spend(1);
        this.reading.push([]);
        return this.silent.push([]) - 1;
    }

    private link(from: number, to: number, condition?: Condition): void {
        this.silent[from]!.push({ to, condition });
    }

    private build(expression: Expression, from: number, to: number): void {
        switch (expression.kind) {
            case "set":
                this.reading[from]!.push({ set: expression.set, to });
                break;
            case "edge":
                this.link(from, to, expression.edge);
                break;
            case "automaton":
                this.embed(expression.automaton, from, to);
                break;
            case "ahead":
                throw new Error("assertions are resolved before");
            case "choice":
                for (const part of expression.parts) this.build(part, from, to);
                break;
            case "sequence": {
                let at = from;
                for (const part of expression.parts) {
                    const next = this.add();
                    this.build(part, at, next);
                    at = next;
                }
                this.link(at, to);
                break;
            }
            case "repeat":
                this.repeat(expression, from, to);
        }
    }

    private embed({ states }: { readonly states: readonly State[] }, from: number, to: number): void {
        const nodes = states.map(() => this.add());
        this.link(from, nodes[0]!);
        for (const [i, { accepts, edges }] of states.entries()) {
            for (const edge of edges) this.reading[nodes[i]!]!.push({ set: edge.set, to: nodes[edge.to]! });
            if (accepts) this.link(nodes[i]!, to);
        }
    }

    private repeat({ part, min, max }: Extract<Expression, { kind: "repeat" }>, from: number, to: number): void {
        let at = this.add();
        this.link(from, at);
        for (let i = 0; i < min; i++) {
            const next = this.add();
            this.build(part, at, next);
            at = next;
        }
        if (max === Number.POSITIVE_INFINITY) {
            this.build(part, at, at);
            this.link(at, to);
            return;
        }
        this.link(at, to);
        for (let i = min; i < max; i++) {
            const next = this.add();
            this.build(part, at, next);
            this.link(next, to);
            at = next;
        }
    }
}

/** The subset construction (Rabin and Scott 1959). */
function determinize(all: Nodes): State[] {
    const { silent, reading, first, last } = all;
    const alive = nodesBefore(all);
    const close = (nodes: Iterable<number>, ...allowed: Condition[]) => {
        const all = new Set<number>();
        const open = [...nodes];
        for (let node = open.pop(); node !== undefined; node = open.pop()) {
            if (all.has(node)) continue;
            all.add(node);
            spend(2 + silent[node]!.length);
            for (const { to, condition } of silent[node]!)
                if (condition === undefined || allowed.includes(condition)) open.push(to);
        }
        return all;
    };
    const ids = new Map<string, number>();
    /** The same by the nodes before what follows them in silence. */
    const idsBefore = new Map<string, number>();
    const sets: number[][] = [];
    const idOf = (nodes: readonly number[], isFirst: boolean) => {
        const start = (isFirst ? "^" : "") + nodes.join();
        spend(nodes.length / 4);
        const same = idsBefore.get(start);
        if (same !== undefined) return same;
        const reached = [...close(nodes, ...(isFirst ? (["start"] as const) : []))];
        const all = (isFirst ? reached : reached.filter((node) => alive.has(node))).sort((a, b) => a - b);
        const key = (isFirst ? "^" : "") + all.join();
        const id = ids.get(key) ?? sets.push(all) - 1;
        if (sets.length > maxStates) throw new AutomatonSizeError();
        ids.set(key, id);
        idsBefore.set(start, id);
        return id;
    };
    const known = new Map<string, CharSet>();
    /** Equal sets are the same object. */
    const setOf = (ranges: CharSet) => {
        spend(ranges.length / 8);
        const key = ranges.join();
        const set = known.get(key) ?? charSet(...ranges);
        known.set(key, set);
        return set;
    };
    idOf([first], true);
    const states: State[] = [];
    for (let i = 0; i < sets.length; i++) {
        const nodes = sets[i]!;
        const accepts = close(nodes, "end", ...(i === 0 ? (["start"] as const) : [])).has(last);
        const edges = nodes.flatMap((node) => reading[node]!);
        const byTarget = new Map<string, { to: readonly number[]; ranges: CharSet[] }>();
        for (const { ranges, to } of pieces(edges)) {
            const key = to.join();
            const way = byTarget.get(key) ?? { to, ranges: [] };
            way.ranges.push(ranges);
            byTarget.set(key, way);
        }
        states.push({
            accepts,
            edges: [...byTarget.values()].map(({ to, ranges }) => ({ set: setOf(ranges.flat()), to: idOf(to, false) }))
        });
    }
    return states;
}

/** The nodes that lead to the last one even when the text has begun, so without the condition `start`. */
function nodesBefore({ silent, reading, last }: Nodes): ReadonlySet<number> {
    const before = silent.map((links, from): number[] => {
        spend(links.length + reading[from]!.length);
        return [];
    });
    for (const [from, links] of silent.entries())
        for (const { to, condition } of links) if (condition !== "start") before[to]!.push(from);
    for (const [from, edges] of reading.entries()) for (const { to } of edges) before[to]!.push(from);
    const found = new Set<number>();
    const open = [last];
    for (let node = open.pop(); node !== undefined; node = open.pop()) {
        if (found.has(node)) continue;
        found.add(node);
        open.push(...before[node]!);
    }
    return found;
}
