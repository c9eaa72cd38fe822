import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { recallFolder } from "../../util/assets.js";

/** Half of the names, sentences and prose: what training saw, or what it did not see. */
export type Split = "train" | "heldOut";

/** A kind of fact and the questions about it; `{key}`, `{value}` and `{name}` are slots. */
export interface FactKind {
    readonly name: string;
    /** Lists whose words make up the key, or `name`. */
    readonly key: readonly string[];
    /** List of the values, or `code`. */
    readonly value: string;
    readonly facts: Readonly<Record<Split, readonly string[]>>;
    readonly questions: Readonly<Record<Split, readonly string[]>>;
}

/** `assets/recall/task.json`, which the training recipe reads too. */
export interface RecallTask {
    readonly names: {
        readonly stems: readonly string[];
        readonly endings: readonly string[];
        readonly heldOutEvery: number;
    };
    readonly lists: Readonly<Record<string, readonly string[]>>;
    readonly kinds: readonly FactKind[];
    readonly answer: { readonly before: string; readonly after: string; readonly end: string };
    readonly chatter: Readonly<Record<Split | "adj" | "noun" | "verb" | "adv", readonly string[]>>;
}

/** Words, sentences and prose of the recall task. */
export interface RecallTexts {
    readonly task: RecallTask;
    /** Passages that training never saw, each split into sentences. */
    readonly prose: readonly (readonly string[])[];
}

export async function readRecallTexts(): Promise<RecallTexts> {
    const task: RecallTask = JSON.parse(await readFile(new URL("task.json", recallFolder), "utf8"));
    const text = gunzipSync(await readFile(new URL("filler.txt.gz", recallFolder))).toString("utf8");
    const prose = text
        .split("\n")
        .map((passage) => passage.split(/(?<=[.?!]) (?=[A-Z])/).filter((part) => part !== ""));
    return { task, prose: prose.filter((passage) => passage.length > 0) };
}

/** Template for a question after a text; `{}` stands for the question. */
export async function recallQuestionForm(): Promise<string> {
    const { answer }: RecallTask = JSON.parse(await readFile(new URL("task.json", recallFolder), "utf8"));
    return `${answer.before}{}${answer.after}`;
}

/** Names of one half. A name is a stem and an ending; every stem and every ending occurs in both halves. */
export function namesOf({ names }: RecallTask, split: Split): string[] {
    return names.stems.flatMap((stem, i) =>
        names.endings
            .filter((_, j) => ((i + j) % names.heldOutEvery === 0) === (split === "heldOut"))
            .map((ending) => stem + ending)
    );
}
