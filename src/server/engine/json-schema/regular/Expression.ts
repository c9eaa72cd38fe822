import { anyCharacter, type CharSet, charsOf } from "./char-set.js";

/** A step of an automaton: the characters that lead to another state. */
export interface Edge {
    readonly set: CharSet;
    readonly to: number;
}

/** A state of an automaton. */
export interface State {
    readonly accepts: boolean;
    readonly edges: readonly Edge[];
}

/** A regular expression. */
export type Expression =
    | { readonly kind: "set"; readonly set: CharSet }
    | { readonly kind: "sequence" | "choice"; readonly parts: readonly Expression[] }
    | { readonly kind: "repeat"; readonly part: Expression; readonly min: number; readonly max: number }
    /** The beginning or the end of the text. */
    | { readonly kind: "edge"; readonly edge: "start" | "end" }
    /** The texts of an automaton. */
    | { readonly kind: "automaton"; readonly automaton: { readonly states: readonly State[] } }
    /** What follows must, or must not, begin with an expression. */
    | { readonly kind: "ahead"; readonly part: Expression; readonly negative: boolean };

export const nothing: Expression = { kind: "sequence", parts: [] };
export const startOfText: Expression = { kind: "edge", edge: "start" };
export const endOfText: Expression = { kind: "edge", edge: "end" };

export function set(characters: CharSet): Expression {
    return { kind: "set", set: characters };
}

export function text(value: string): Expression {
    return sequence(...[...value].map((character) => set(charsOf(character))));
}

export function sequence(...parts: readonly Expression[]): Expression {
    return parts.length === 1 ? parts[0]! : { kind: "sequence", parts };
}

export function choice(...parts: readonly Expression[]): Expression {
    return parts.length === 1 ? parts[0]! : { kind: "choice", parts };
}

export function repeat(part: Expression, min: number, max = Number.POSITIVE_INFINITY): Expression {
    return { kind: "repeat", part, min, max };
}

/** Any text. */
export const anyText: Expression = repeat(set(anyCharacter), 0);

/** Whether an expression, or a part of it, fulfills a condition. */
export function some(expression: Expression, test: (part: Expression) => boolean): boolean {
    if (test(expression)) return true;
    switch (expression.kind) {
        case "set":
        case "edge":
        case "automaton":
            return false;
        case "sequence":
        case "choice":
            return expression.parts.some((part) => some(part, test));
        case "repeat":
        case "ahead":
            return some(expression.part, test);
    }
}
