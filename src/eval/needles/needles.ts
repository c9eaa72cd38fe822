import { Draw } from "../questions/Draw.js";
import { readTaskData } from "../questions/data.js";
import { names } from "../questions/grading.js";
import { hide } from "../questions/hide.js";
import { type Prose, proseFiller } from "../questions/prose.js";
import type { MakeText, Question } from "../questions/question.js";

export const needleTasks = ["single", "manyKeys", "manyValues", "manyQueries"] as const;
export type NeedleTask = (typeof needleTasks)[number];

export const needleValues = ["number", "word", "uuid"] as const;
export type NeedleValue = (typeof needleValues)[number];

/** `assets/eval/needles.json`: needles as RULER draws them (arXiv 2404.06654, section 3). */
export interface NeedleData {
    readonly needle: string;
    readonly questions: Readonly<Record<NeedleForm, string>>;
    readonly completions: Readonly<Record<NeedleForm, string>>;
    readonly tasks: Readonly<Record<NeedleTask, NeedleCounts>>;
    readonly adjectives: readonly string[];
    readonly nouns: readonly string[];
}

type NeedleForm = "one" | "all" | "many";

interface NeedleCounts {
    /** Keys of a set. */
    readonly keys: number;
    readonly valuesOfKey: number;
    /** Keys that the set's question asks about. */
    readonly asked: number;
    readonly question: NeedleForm;
}

export interface NeedleOptions {
    task: NeedleTask;
    /** Types of values; the sets of a text take turns. */
    values: readonly NeedleValue[];
    /** Sets of needles in a text, each with a question. */
    sets: number;
}

export const readNeedles = () => readTaskData<NeedleData>("needles");

/** Texts with sets of needles. No two needles of a text have the same key or value. */
export function needleTexts(data: NeedleData, prose: Prose, { task, values, sets }: NeedleOptions): MakeText {
    const { keys, valuesOfKey, asked, question } = data.tasks[task];
    return ({ tokens, seed, index, countTokens }) => {
        const draw = new Draw(seed, "needles");
        const used = new Set<string>();
        const unused = (make: () => string): string => {
            for (let tries = 0; tries < 1000; tries++) {
                const made = make();
                if (!used.has(made) && used.add(made)) return made;
            }
            throw new RangeError(`${sets} sets of needles are too many; there are not enough words`);
        };
        const word = () => `${draw.from(data.adjectives)}-${draw.from(data.nouns)}`;
        const make = { number: () => number(draw), word, uuid: () => uuid(draw) };
        const planned = Array.from({ length: sets }, (_, set) => {
            const type = values[(index * sets + set) % values.length]!;
            const needles = Array.from({ length: keys }, () => ({
                key: unused(word),
                values: Array.from({ length: valuesOfKey }, () => unused(make[type]))
            }));
            return { type, needles };
        });
        const sentences = draw.shuffle(
            planned.flatMap(({ type, needles }) =>
                needles.flatMap(({ key, values }) => values.map((value) => fill(data.needle, { type, key, value })))
            )
        );
        const depths = draw.depths(sentences.length);
        const depthOf = (key: string) => depths[sentences.findIndex((sentence) => names(sentence, key))]!;
        const questions = planned.map(({ type, needles }): Question => {
            const wanted = draw.shuffle(needles).slice(0, asked);
            const right = wanted.flatMap((needle) => needle.values);
            const slots = { type, key: wanted[0]!.key, keys: listOf(wanted.map(({ key }) => key)) };
            return {
                text: fill(data.questions[question], slots),
                completion: fill(data.completions[question], slots),
                kind: type,
                expected: right.join(", "),
                depth: depthOf(wanted[0]!.key),
                score: (answer) => right.filter((value) => names(answer, value)).length / right.length
            };
        });
        const hidden = sentences.map((sentence, i) => ({ sentence, depth: depths[i]! }));
        const write = () => {
            const filler = new Draw(seed, "filler");
            return hide(hidden, {
                tokens,
                filler: proseFiller(prose, filler),
                draw: filler,
                countTokens,
                what: "needles"
            });
        };
        write();
        return { questions, sentences: write };
    };
}

function fill(form: string, slots: Readonly<Record<string, string>>): string {
    return form.replaceAll(/\{(\w+)\}/g, (_, name: string) => slots[name] ?? "");
}

/** `a`, `a and b`, `a, b, and c`. */
function listOf(words: readonly string[]): string {
    return new Intl.ListFormat("en", { type: "conjunction" }).format(words);
}

/** Seven digits, the first not 0. */
function number(draw: Draw): string {
    return String(draw.integer(1_000_000, 9_999_999));
}

/** Version 4, lower case. */
function uuid(draw: Draw): string {
    const digits = (count: number) => Array.from({ length: count }, () => draw.integer(0, 15).toString(16)).join("");
    return `${digits(8)}-${digits(4)}-4${digits(3)}-${draw.from("89ab".split(""))}${digits(3)}-${digits(12)}`;
}
