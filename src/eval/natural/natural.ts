import { Draw } from "../questions/Draw.js";
import { readTaskData } from "../questions/data.js";
import { namesAny } from "../questions/grading.js";
import { hide } from "../questions/hide.js";
import { type Prose, proseFiller } from "../questions/prose.js";
import type { MakeText } from "../questions/question.js";

/** A fact as a person writes it. */
export interface NaturalFact {
    readonly text: string;
    readonly question: string;
    readonly answers: readonly string[];
    /** The beginning of a sentence that a right answer ends. */
    readonly completion: string;
}

/** Reads `assets/eval/natural.json`. */
export async function readNaturalFacts(): Promise<readonly NaturalFact[]> {
    return (await readTaskData<{ facts: NaturalFact[] }>("natural")).facts;
}

/**
 * Texts with facts hidden in prose. Every fact is hidden once before one is hidden again.
 * @param count facts in a text
 * @param seed gives the order of the facts
 */
export function naturalTexts(
    facts: readonly NaturalFact[],
    prose: Prose,
    { count, seed: order }: { count: number; seed: number }
): MakeText {
    if (count > facts.length) throw new RangeError(`${count} facts are too many; there are ${facts.length}`);
    const deck = new Draw(order, "natural facts").shuffle(facts);
    return ({ tokens, seed, index, countTokens }) => {
        const depths = new Draw(seed, "depths").depths(count);
        const hidden = depths.map((depth, i) => {
            const fact = deck[(index * count + i) % deck.length]!;
            return { fact, sentence: fact.text, depth };
        });
        const write = () => {
            const draw = new Draw(seed, "filler");
            return hide(hidden, { tokens, filler: proseFiller(prose, draw), draw, countTokens, what: "facts" });
        };
        write();
        const questions = hidden.map(({ fact: { question, completion, answers }, depth }) => ({
            text: question,
            completion,
            kind: "fact",
            expected: answers[0]!,
            depth,
            score: (answer: string) => Number(namesAny(answer, answers))
        }));
        return { questions, sentences: write };
    };
}
