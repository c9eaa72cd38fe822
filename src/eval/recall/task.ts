import { readFile } from "node:fs/promises";
import { recallFolder } from "../../util/assets.js";
import { type Prose, readProse } from "../questions/prose.js";

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
    readonly prose: Prose;
}

export async function readRecallTask(): Promise<RecallTask> {
    return JSON.parse(await readFile(new URL("task.json", recallFolder), "utf8")) as RecallTask;
}

export async function readRecallTexts(): Promise<RecallTexts> {
    return { task: await readRecallTask(), prose: await readProse() };
}

/** The words around a question after a text. */
export async function recallPlainForm(): Promise<RecallTask["answer"]> {
    const { answer } = await readRecallTask();
    return answer;
}

/** Template for a question after a text; `{}` stands for the question. */
export async function recallQuestionForm(): Promise<string> {
    const { before, after } = await recallPlainForm();
    return `${before}{}${after}`;
}

/** Names of one half. A name is a stem and an ending; every stem and every ending occurs in both halves. */
export function namesOf({ names }: RecallTask, split: Split): string[] {
    return names.stems.flatMap((stem, i) =>
        names.endings
            .filter((_, j) => ((i + j) % names.heldOutEvery === 0) === (split === "heldOut"))
            .map((ending) => stem + ending)
    );
}
