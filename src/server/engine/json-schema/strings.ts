import { unsupported } from "../../errors.js";
import { formatAutomaton, formatNames, isOwnFormat } from "./formats.js";
import { Memo } from "./Memo.js";
import { numberTextAutomaton } from "./number-formats.js";
import { Automaton, AutomatonSizeError } from "./regular/Automaton.js";
import { choice, repeat, set, text } from "./regular/Expression.js";
import { PatternError } from "./regular/parse-pattern.js";
import { writable } from "./regular/print-automaton.js";
import { WorkError } from "./Work.js";

/** What a schema says about the characters of a string. */
export interface StringRules {
    readonly patterns: readonly string[];
    readonly format: string | undefined;
    readonly min: number;
    readonly max: number | undefined;
    /** Texts that the string must not be. Default: none. */
    readonly except?: readonly string[];
}

const strings = new Memo<Automaton>();
const ofPatterns = new Memo<readonly Automaton[]>();

/** States that the characters of a counted length may take. */
const maxCounted = 1500;

/**
 * The strings that have all patterns, the format and the length. If the length would make it too large, they are
 * shorter than allowed.
 * @throws {ApiError} for a pattern that is not regular, an unknown format, or a combination without strings
 */
export function stringAutomaton(rules: StringRules, param: string): Automaton {
    return strings.get(JSON.stringify(rules), () => makeStrings(rules, param));
}

function makeStrings({ patterns, format, min, max, except = [] }: StringRules, param: string): Automaton {
    let all = Automaton.of(repeat(set(writable), 0));
    if (format !== undefined) {
        // validators check formats of numbers in numbers only, so a pattern may say otherwise
        const given = formatAutomaton(format) ?? (patterns.length === 0 ? numberTextAutomaton(format) : undefined);
        if (given !== undefined) all = all.and(given);
        else if (patterns.length === 0 || !isOwnFormat(format))
            throw unsupported(
                `${param}.format`,
                `the format ${JSON.stringify(format)} is not supported; these are: ${formatNames.join(", ")}`
            );
    }
    const parts = patterns.flatMap((pattern) => patternAutomata(pattern, `${param}.pattern`));
    const name = patterns.length > 0 ? "pattern" : format === undefined ? "minLength" : "format";
    try {
        // small ones first, which keeps the results in between small
        for (const part of parts.sort((a, b) => a.states.length - b.states.length)) all = all.and(part);
        if (except.length > 0) all = all.and(Automaton.of(choice(...except.map(text))).not());
        all = ofLength(all, min, max);
    } catch (error) {
        if (error instanceof WorkError)
            throw unsupported(`${param}.${name}`, `the schema takes too long to compile, up to \`${param}\``);
        if (!(error instanceof AutomatonSizeError)) throw error;
        throw unsupported(`${param}.${name}`, `\`${param}\` is too large for a grammar`);
    }
    if (all.isEmpty) throw unsupported(`${param}.${name}`, `a grammar has no text that \`${param}\` accepts`);
    return all;
}

/** @throws {ApiError} */
export function patternAutomaton(pattern: string, param: string): Automaton {
    return patternAutomata(pattern, param).reduce((all, part) => all.and(part));
}

function patternAutomata(pattern: string, param: string): readonly Automaton[] {
    try {
        return ofPatterns.get(pattern, () => Automaton.ofPattern(pattern));
    } catch (error) {
        if (error instanceof PatternError)
            throw unsupported(param, `the pattern \`${pattern}\` is not supported: it ${error.message}`);
        if (error instanceof AutomatonSizeError)
            throw unsupported(param, `the pattern \`${pattern}\` is too large for a grammar`);
        if (error instanceof WorkError)
            throw unsupported(param, `the schema takes too long to compile, up to the pattern \`${pattern}\``);
        throw error;
    }
}

function ofLength(all: Automaton, min: number, max: number | undefined): Automaton {
    const { min: shortest, max: longest } = all.lengths;
    const least = min <= shortest ? 0 : min;
    if (max === undefined || longest <= max) return all.ofLength(least);
    const room = Math.floor(maxCounted / all.states.length);
    return all.ofLength(least, Math.min(max, Math.max(room, least, shortest)));
}
