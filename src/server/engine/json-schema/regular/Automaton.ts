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
    startOfText,
    text
} from "./Expression.js";
import { PatternError, parsePattern } from "./parse-pattern.js";

/** Limits that no sensible pattern reaches. */
const maxNodes = 10_000;
const maxStates = 4000;

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

    /** One text alone. */
    static ofText(value: string): Automaton {
        return Automaton.of(text(value));
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
     * An automaton whose states are found from a first one.
     * @param expand the steps from a state, whose sets must not overlap
     * @throws {AutomatonSizeError}
     */
    static ofStates(
        first: string,
        expand: (state: string) => readonly (readonly [set: CharSet, to: string])[],
        accepts: (state: string) => boolean
    ): Automaton {
        const ids = new Map([[first, 0]]);
        const names = [first];
        const idOf = (name: string) => {
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
            return { accepts: !accepts, edges: rest.length === 0 ? edges : [...edges, { set: rest, to: sink }] };
        });
        return new Automaton([...states, { accepts: true, edges: [{ set: anyCharacter, to: sink }] }]).trimmed();
    }

    /** The texts that both accept. */
    and(other: Automaton): Automaton {
        return this.product(
            (from, step) => {
                const [a, b] = from;
                for (const left of this.states[a]!.edges)
                    for (const right of other.states[b]!.edges) {
                        const set = intersection(left.set, right.set);
                        if (set.length > 0) step(set, [left.to, right.to]);
                    }
            },
            ([a, b]) => this.states[a]!.accepts && other.states[b]!.accepts
        ).minimized();
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
            reached = new Set([...reached].flatMap((state) => this.states[state]!.edges.map(({ to }) => to)));
        }
        return { min, max: reached.size > 0 ? Number.POSITIVE_INFINITY : longest };
    }

    private product(
        expand: (from: readonly [number, number], step: (set: CharSet, to: readonly [number, number]) => void) => void,
        accepts: (from: readonly [number, number]) => boolean
    ): Automaton {
        const pairOf = (name: string) => name.split(",").map(Number) as [number, number];
        return Automaton.ofStates(
            "0,0",
            (name) => {
                const steps: [CharSet, string][] = [];
                expand(pairOf(name), (set, to) => steps.push([set, to.join()]));
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

    /** The same texts with fewer states, by refining a partition (Moore 1956). */
    private minimized(): Automaton {
        const { states } = this.trimmed();
        const cuts = [
            ...new Set(states.flatMap(({ edges }) => edges.flatMap(({ set }) => set.flatMap(([a, b]) => [a, b + 1]))))
        ].sort((a, b) => a - b);
        const places = new Map(cuts.map((cut, i) => [cut, i]));
        const targets = states.map(({ edges }) => {
            const row = new Int32Array(cuts.length).fill(-1);
            for (const { set, to } of edges)
                for (const [first, last] of set) row.fill(to, places.get(first)!, places.get(last + 1)!);
            return row;
        });
        let groups: number[] = states.map(({ accepts }) => (accepts ? 1 : 0));
        for (let count = 0; ; ) {
            const ids = new Map<string, number>();
            const next = targets.map((row, state) => {
                const key = [groups[state], ...Array.from(row, (to) => (to < 0 ? -1 : groups[to]))].join();
                if (!ids.has(key)) ids.set(key, ids.size);
                return ids.get(key)!;
            });
            groups = next;
            if (ids.size === count) break;
            count = ids.size;
        }
        // the first state must stay the first one
        const order = [...new Set(groups)];
        const names = new Map(order.map((group, i) => [group, i]));
        return new Automaton(
            order.map((group) => {
                const state = states[groups.indexOf(group)]!;
                const byTarget = new Map<number, CharSet>();
                for (const { set, to } of state.edges) {
                    const name = names.get(groups[to]!)!;
                    byTarget.set(name, union(byTarget.get(name) ?? [], set));
                }
                return { accepts: state.accepts, edges: [...byTarget].map(([to, set]) => ({ set, to })) };
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
function determinize({ silent, reading, first, last }: Nodes): State[] {
    const close = (nodes: Iterable<number>, ...allowed: Condition[]) => {
        const all = new Set<number>();
        const open = [...nodes];
        for (let node = open.pop(); node !== undefined; node = open.pop()) {
            if (all.has(node)) continue;
            all.add(node);
            for (const { to, condition } of silent[node]!)
                if (condition === undefined || allowed.includes(condition)) open.push(to);
        }
        return all;
    };
    const ids = new Map<string, number>();
    const sets: number[][] = [];
    const idOf = (nodes: Iterable<number>, isFirst: boolean) => {
        const all = [...close(nodes, ...(isFirst ? (["start"] as const) : []))].sort((a, b) => a - b);
        const key = (isFirst ? "^" : "") + all.join();
        const known = ids.get(key);
        if (known !== undefined) return known;
        if (sets.length >= maxStates) throw new AutomatonSizeError();
        ids.set(key, sets.length);
        return sets.push(all) - 1;
    };
    idOf([first], true);
    const states: State[] = [];
    for (let i = 0; i < sets.length; i++) {
        const nodes = sets[i]!;
        const accepts = close(nodes, "end", ...(i === 0 ? (["start"] as const) : [])).has(last);
        const edges = nodes.flatMap((node) => reading[node]!);
        const cuts = [...new Set(edges.flatMap(({ set }) => set.flatMap(([a, b]) => [a, b + 1])))].sort(
            (a, b) => a - b
        );
        const byTarget = new Map<string, { to: number[]; ranges: [number, number][] }>();
        for (const [j, cut] of cuts.slice(0, -1).entries()) {
            const to = edges.filter(({ set }) => set.some(([a, b]) => cut >= a && cut <= b)).map((edge) => edge.to);
            if (to.length === 0) continue;
            const key = to.join();
            const known = byTarget.get(key) ?? { to, ranges: [] };
            known.ranges.push([cut, cuts[j + 1]! - 1]);
            byTarget.set(key, known);
        }
        states.push({
            accepts,
            edges: [...byTarget.values()].map(({ to, ranges }) => ({ set: charSet(...ranges), to: idOf(to, false) }))
        });
    }
    return states;
}
