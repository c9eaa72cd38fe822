import type { LlamaContext, LlamaModel } from "../../../plugin/index.js";
import { seededRandom } from "../../util/random.js";
import { type AnsweredQuestion, askAll, readHaystack } from "./ask.js";
import { makeHaystack } from "./haystack.js";
import type { RecallTexts, Split } from "./task.js";

export interface MeasureOptions {
    /** Length of a haystack. Unit: tokens. */
    tokens: number;
    /** Least number of questions; haystacks are read until it is reached. */
    questions: number;
    /** Facts in a haystack, including overridden ones. */
    facts: number;
    seed: number;
    split: Split;
    signal?: AbortSignal;
    /** Called while reading, with the tokens of all haystacks so far and the number of questions answered. */
    onProgress?: (tokens: number, answered: number) => void;
}

/** Number of questions asked and of right answers. */
export interface Share {
    readonly asked: number;
    readonly right: number;
    readonly recall: number;
}

/** Recall at one length. */
export interface RecallRow extends Share {
    readonly tokens: number;
    readonly haystacks: number;
    /** Wilson's 95 % interval for the model's recall. */
    readonly interval: readonly [low: number, high: number];
    /** Results for the same questions on an empty sequence, whose memory is empty. */
    readonly withoutMemory: Share;
    readonly readSeconds: number;
    readonly tokensPerSecond: number;
    /** Resident memory of the process after the last haystack. Unit: bytes. */
    readonly processBytes: number;
    /** Results for each tenth of the haystack, from its beginning. */
    readonly byDepth: readonly Share[];
    readonly byKind: Readonly<Record<string, Share>>;
    /** Questions with wrong answers. */
    readonly wrong: readonly { question: string; expected: string; answer: string; depth: number }[];
}

/** Number of equal parts of a haystack, for recall by depth. */
export const depthParts = 10;

/** Reads haystacks of one length and asks about their facts. */
export async function measureRecall(
    model: LlamaModel,
    context: LlamaContext,
    texts: RecallTexts,
    { tokens, questions, facts, seed, split, signal, onProgress }: MeasureOptions
): Promise<RecallRow> {
    const countTokens = (text: string) => model.tokenize(text).length;
    const sequence = context.getSequence();
    const answers: AnsweredQuestion[] = [];
    const blind: AnsweredQuestion[] = [];
    let haystacks = 0;
    let read = 0;
    let readSeconds = 0;
    try {
        while (answers.length < questions) {
            // haystacks of different lengths get different seeds
            const haystack = makeHaystack(texts, {
                tokens,
                facts,
                seed: Math.floor(seededRandom(seed, `haystack ${haystacks} of ${tokens}`)() * 2 ** 32),
                split,
                countTokens
            });
            const before = read;
            const started = performance.now();
            read += await readHaystack(sequence, haystack, {
                signal,
                onProgress: (done) => onProgress?.(before + done, answers.length)
            });
            readSeconds += (performance.now() - started) / 1000;
            answers.push(...(await askAll(sequence, model, haystack.questions, texts.task, signal)));
            await sequence.clearHistory();
            blind.push(...(await askAll(sequence, model, haystack.questions, texts.task, signal)));
            haystacks++;
        }
    } finally {
        await sequence.dispose();
    }
    const total = share(answers);
    const kinds = [...new Set(answers.map(({ fact }) => fact.kind.name))].sort();
    return {
        tokens,
        haystacks,
        ...total,
        interval: wilson(total.right, total.asked),
        withoutMemory: share(blind),
        readSeconds,
        tokensPerSecond: read / readSeconds,
        processBytes: process.memoryUsage.rss(),
        byDepth: Array.from({ length: depthParts }, (_, part) =>
            share(answers.filter(({ fact }) => Math.min(depthParts - 1, Math.floor(fact.depth * depthParts)) === part))
        ),
        byKind: Object.fromEntries(
            kinds.map((kind) => [kind, share(answers.filter((a) => a.fact.kind.name === kind))])
        ),
        wrong: answers
            .filter(({ right }) => !right)
            .map(({ text, expected, answer, fact }) => ({ question: text, expected, answer, depth: fact.depth }))
    };
}

function share(answers: readonly AnsweredQuestion[]): Share {
    const right = answers.filter((answer) => answer.right).length;
    return { asked: answers.length, right, recall: answers.length === 0 ? 0 : right / answers.length };
}

/** Wilson's 95 % score interval for the share `right / asked`. */
export function wilson(right: number, asked: number): [low: number, high: number] {
    if (asked === 0) return [0, 1];
    const z = 1.959964;
    const p = right / asked;
    const middle = p + (z * z) / (2 * asked);
    const spread = z * Math.sqrt((p * (1 - p)) / asked + (z * z) / (4 * asked * asked));
    const scale = 1 + (z * z) / asked;
    return [Math.max(0, (middle - spread) / scale), Math.min(1, (middle + spread) / scale)];
}
