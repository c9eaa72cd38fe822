import { Draw } from "../questions/Draw.js";
import { hide } from "../questions/hide.js";
import { proseRun } from "../questions/prose.js";
import type { Question, QuestionedText } from "../questions/question.js";
import { type FactKind, namesOf, type RecallTexts, type Split } from "./task.js";

export interface HaystackOptions {
    /** Length, including the facts. Unit: tokens. */
    tokens: number;
    /** Number of facts, including overridden ones. */
    facts: number;
    /** The same seed gives the same haystack. */
    seed: number;
    /** Which half of the names and sentences to build facts and questions from. Default: `"heldOut"`. */
    split?: Split;
    /** Share of the facts that override an earlier one. Default: a quarter. */
    changes?: number;
    /** Returns the number of tokens in a text. */
    countTokens: (text: string) => number;
}

/** A sentence to remember. */
export interface Fact {
    readonly kind: FactKind;
    readonly key: string;
    readonly value: string;
    readonly sentence: string;
    /** Position in the haystack, from 0 to 1. */
    readonly depth: number;
    /** Whether a later fact gives the key another value. */
    readonly overridden: boolean;
}

/** A question about a fact that still holds at the end of the haystack. */
export interface FactQuestion extends Question {
    readonly fact: Fact;
}

/** Text with facts in it. */
export interface Haystack extends QuestionedText {
    readonly facts: readonly Fact[];
    readonly questions: readonly FactQuestion[];
    sentences(): Generator<string, void, void>;
}

/** Fewest and most made-up sentences in a row. */
const chatterRun = [2, 16] as const;
const bystanderCount = 4;

/**
 * Hides facts at random depths in prose and made-up sentences that the model was not trained on. The text is at most as
 * long as requested, and shorter by less than a sentence.
 * @throws {RangeError} if the facts do not fit into the text or there are too few subjects for them
 */
export function makeHaystack(texts: RecallTexts, options: HaystackOptions): Haystack {
    const { tokens, facts: count, seed, split = "heldOut", changes = 0.25, countTokens } = options;
    const facts = makeFacts(texts, count, changes, split, new Draw(seed, "facts"));
    // facts that do not fit are refused here, before anything is read
    const write = () => {
        const draw = new Draw(seed, "filler");
        return hide(facts, { tokens, filler: fillerSentences(texts, draw), draw, countTokens, what: "facts" });
    };
    write();
    const draw = new Draw(seed, "questions");
    const questions = facts
        .filter(({ overridden }) => !overridden)
        .map((fact) => ({
            fact,
            text: draw.from(fact.kind.questions[split]).replace("{key}", fact.key),
            kind: fact.kind.name,
            expected: fact.value,
            depth: fact.depth,
            score: (answer: string) => Number(answer === fact.value)
        }));
    return { facts, questions, sentences: write };
}

function makeFacts({ task }: RecallTexts, count: number, changes: number, split: Split, draw: Draw): Fact[] {
    // each name has only one role, so that no other sentence mentions a key by accident
    const names = draw.shuffle(namesOf(task, split));
    const bystanders = names.splice(0, bystanderCount);
    const decks = new Map<string, string[]>();
    /** The next unused key of a kind, or `undefined` if all are used. */
    const deal = ({ key }: FactKind): string | undefined => {
        if (key[0] === "name") return names.pop();
        const id = key.join(" ");
        if (!decks.has(id)) decks.set(id, draw.shuffle(combinations(key.map((list) => task.lists[list]!))));
        return decks.get(id)!.pop();
    };
    const known: { kind: FactKind; key: string; value: string; index: number }[] = [];
    const facts: (Omit<Fact, "depth" | "overridden"> & { overridden: boolean })[] = [];
    let kinds = task.kinds;
    const newKey = (): { kind: FactKind; key: string } => {
        while (kinds.length > 0) {
            const kind = draw.from(kinds);
            const key = deal(kind);
            if (key !== undefined) return { kind, key };
            kinds = kinds.filter((other) => other !== kind);
        }
        throw new RangeError(`${count} facts are too many: there are only ${known.length} things to state facts about`);
    };
    for (let index = 0; index < count; index++) {
        const old = known.length > 0 && draw.next() < changes ? draw.from(known) : undefined;
        const { kind, key } = old ?? newKey();
        let value: string;
        do
            value =
                kind.value === "code"
                    ? String(draw.integer(0, 9999)).padStart(4, "0")
                    : draw.from(task.lists[kind.value]!);
        while (value === old?.value);
        if (old === undefined) known.push({ kind, key, value, index });
        else {
            facts[old.index]!.overridden = true;
            Object.assign(old, { value, index });
        }
        const sentence = draw
            .from(kind.facts[split])
            .replace("{key}", key)
            .replace("{value}", value)
            .replace("{name}", draw.from(bystanders));
        facts.push({ kind, key, value, sentence, overridden: false });
    }
    const depths = draw.depths(facts.length);
    return facts.map((fact, i) => ({ ...fact, depth: depths[i]! }));
}

/** All combinations of one word from each list, in order. */
function combinations(lists: readonly (readonly string[])[]): string[] {
    return lists.reduce<string[]>(
        (starts, list) => starts.flatMap((start) => list.map((word) => (start === "" ? word : `${start} ${word}`))),
        [""]
    );
}

function* fillerSentences({ task, prose }: RecallTexts, draw: Draw): Generator<string, never, void> {
    const { chatter } = task;
    for (;;) {
        if (draw.next() < 0.5) yield* proseRun(prose, draw);
        else
            for (let left = draw.integer(...chatterRun); left > 0; left--)
                yield draw
                    .from(chatter.heldOut)
                    .replaceAll(/\{(adj|noun|verb|adv)\}/g, (_, slot: "adj" | "noun" | "verb" | "adv") =>
                        draw.from(chatter[slot])
                    );
    }
}
