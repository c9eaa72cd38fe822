import { Draw } from "../questions/Draw.js";
import { hide } from "../questions/hide.js";
import { type Prose, proseFiller } from "../questions/prose.js";
import type { MakeText } from "../questions/question.js";

/** Words of a sentence that are given, and words that have to follow. */
const given = 8;
const wanted = 5;

/** Longest sentence to ask for. Unit: words. */
const longest = 45;

/** Sentences before and after an asked one that are hidden with it. */
const around = 1;

/**
 * Texts of prose. The questions give the first eight words of some sentences and want the next five. Each of these
 * sentences is in the text once, between its neighbors.
 * @param count sentences to ask for
 * @param seed gives the order of the sentences
 */
export function recitationTexts(prose: Prose, { count, seed: order }: { count: number; seed: number }): MakeText {
    const deck = new Draw(order, "recitation").shuffle(recitable(prose));
    if (count > deck.length) throw new RangeError(`${count} sentences are too many; there are ${deck.length}`);
    return ({ tokens, seed, index, countTokens }) => {
        const depths = new Draw(seed, "depths").depths(count);
        const hidden = depths.map((depth, i) => {
            const { passage, place } = deck[(index * count + i) % deck.length]!;
            const sentences = prose[passage]!.slice(Math.max(0, place - around), place + around + 1);
            return { passage, words: wordsOf(prose[passage]![place]!), sentence: sentences.join(" "), depth };
        });
        const taken = new Set(hidden.map(({ passage }) => passage));
        const rest = prose.filter((_, passage) => !taken.has(passage));
        const write = () => {
            const draw = new Draw(seed, "filler");
            return hide(hidden, { tokens, filler: proseFiller(rest, draw), draw, countTokens, what: "sentences" });
        };
        write();
        const questions = hidden.map(({ words, depth }) => {
            const begin = words.slice(0, given).join(" ");
            const rest = words.slice(given, given + wanted);
            return {
                text: `How does the sentence that begins with "${begin}" go on?`,
                completion: begin,
                kind: "sentence",
                expected: rest.join(" "),
                depth,
                score: (answer: string) => Number(wordsOf(answer).slice(0, wanted).join(" ") === rest.join(" "))
            };
        });
        return { questions, sentences: write };
    };
}

/** One sentence of each passage that has one, where no other sentence begins with the same words. */
function recitable(prose: Prose): { passage: number; place: number }[] {
    const beginnings = new Map<string, number>();
    const beginningOf = (sentence: string) => wordsOf(sentence).slice(0, given).join(" ");
    for (const sentence of prose.flat()) {
        const beginning = beginningOf(sentence);
        beginnings.set(beginning, (beginnings.get(beginning) ?? 0) + 1);
    }
    return prose.flatMap((sentences, passage) => {
        const place = sentences.findIndex((sentence) => {
            const { length } = wordsOf(sentence);
            return length > given + wanted && length <= longest && beginnings.get(beginningOf(sentence)) === 1;
        });
        return place === -1 ? [] : [{ passage, place }];
    });
}

function wordsOf(text: string): string[] {
    return text.split(/\s+/).filter((word) => word !== "");
}
