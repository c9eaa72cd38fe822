import type { LlamaContext, LlamaContextSequence, LlamaModel } from "../../../plugin/index.js";
import { seededRandom } from "../../util/random.js";
import { type AnsweredQuestion, type Asking, askWithText } from "./ask.js";
import type { MakeText, Question, QuestionedText, QuestionForm } from "./question.js";
import { type Share, shareOf, wilson } from "./share.js";
import { type OpenWay, openWay, type Way } from "./ways.js";

export interface MeasureOptions {
    /** Length of a text. Unit: tokens. */
    tokens: number;
    /** Least number of questions; texts are read until it is reached. */
    questions: number;
    seed: number;
    /** How to ask; each question is asked in each form. */
    asking: readonly Asking[];
    makeText: MakeText;
    /** How texts and questions reach the model. Default: `memory`. */
    openWay?: OpenWay;
    signal?: AbortSignal;
    /** Called while reading, with the tokens of all texts so far and the number of questions answered. */
    onProgress?: (tokens: number, answered: number) => void;
}

/** What a model remembers of texts of one length. */
export interface MemoryRow extends Share {
    readonly form: QuestionForm;
    /** Length of a text. Unit: tokens. */
    readonly tokens: number;
    /** Texts read. */
    readonly haystacks: number;
    /** Wilson's 95 % interval for the model's recall. */
    readonly interval: readonly [low: number, high: number];
    /** Results for the same questions on an empty sequence, whose memory is empty. */
    readonly withoutMemory: Share;
    /**
     * Results of the base model alone, with the whole text in its context; `null` if the text does not fit, absent if
     * no base was given.
     */
    readonly baseAlone?: AloneShare | null;
    readonly readSeconds: number;
    readonly tokensPerSecond: number;
    /** Resident memory of the process after the last text. Unit: bytes. */
    readonly processBytes: number;
    /** Results for each tenth of the text, from its beginning. */
    readonly byDepth: readonly Share[];
    readonly byKind: Readonly<Record<string, Share>>;
    /** Questions whose answers are not all right. */
    readonly wrong: readonly WrongAnswer[];
}

export interface WrongAnswer {
    readonly question: string;
    readonly expected: string;
    readonly answer: string;
    /** Position of the answer in the text, from 0 to 1. */
    readonly depth: number;
}

/** Results of a plain model that has the text in its context. */
export interface AloneShare extends Share {
    readonly wrong: readonly WrongAnswer[];
}

/** Number of equal parts of a text, for recall by depth. */
export const depthParts = 10;

/** Reads texts of one length and asks about them. Returns a row for each form. */
export async function measureMemory(
    model: LlamaModel,
    context: LlamaContext,
    options: MeasureOptions
): Promise<MemoryRow[]> {
    const { tokens, questions, asking, signal, onProgress } = options;
    const way = await (options.openWay ?? openWay("memory"))(context);
    const answers = asking.map((): AnsweredQuestion[] => []);
    const blind = asking.map((): AnsweredQuestion[] => []);
    let haystacks = 0;
    let read = 0;
    let readSeconds = 0;
    try {
        while (answers[0]!.length < questions) {
            const text = textOf(model, options, haystacks);
            const before = read;
            const started = performance.now();
            read += await way.read(text, {
                signal,
                onProgress: (done) => onProgress?.(before + done, answers[0]!.length)
            });
            readSeconds += (performance.now() - started) / 1000;
            for (const [i, form] of asking.entries())
                answers[i]!.push(...(await askEach(way, text.questions, form, signal)));
            await way.forget();
            for (const [i, form] of asking.entries())
                blind[i]!.push(...(await askEach(way, text.questions, form, signal)));
            haystacks++;
        }
    } finally {
        await way.dispose();
    }
    return asking.map(({ form }, i) => ({
        form,
        tokens,
        haystacks,
        ...summary(answers[i]!),
        withoutMemory: shareOfAnswers(blind[i]!),
        readSeconds,
        tokensPerSecond: read / readSeconds,
        processBytes: process.memoryUsage.rss()
    }));
}

/**
 * Asks a plain model about the same texts, with each text in its context.
 * @param haystacks how many texts
 * @returns for each form the share of right answers; `null` if a text does not fit the context
 */
export async function measureAlone(
    model: LlamaModel,
    sequence: LlamaContextSequence,
    options: Omit<MeasureOptions, "questions" | "onProgress">,
    haystacks: number
): Promise<(AloneShare | null)[]> {
    const shares: (AloneShare | null)[] = [];
    for (const form of options.asking) {
        const answers: AnsweredQuestion[] = [];
        let fits = true;
        for (let index = 0; index < haystacks && fits; index++) {
            const given = await askWithText(sequence, model, textOf(model, options, index), form, options.signal);
            if (given === undefined) fits = false;
            else answers.push(...given);
        }
        shares.push(fits ? { ...shareOfAnswers(answers), wrong: wrongOf(answers) } : null);
    }
    return shares;
}

/** Asks each question about what was read. */
async function askEach(
    way: Way,
    questions: readonly Question[],
    asking: Asking,
    signal: AbortSignal | undefined
): Promise<AnsweredQuestion[]> {
    const answers: AnsweredQuestion[] = [];
    for (const question of questions) {
        signal?.throwIfAborted();
        const answer = await way.ask(question, asking, signal);
        answers.push({ question, answer, score: question.score(answer) });
    }
    return answers;
}

/** Texts of different lengths get different seeds. */
function textOf(
    model: LlamaModel,
    { tokens, seed, makeText }: Pick<MeasureOptions, "tokens" | "seed" | "makeText">,
    index: number
): QuestionedText {
    return makeText({
        tokens,
        index,
        seed: Math.floor(seededRandom(seed, `haystack ${index} of ${tokens}`)() * 2 ** 32),
        countTokens: (text) => model.tokenize(text).length
    });
}

function summary(answers: readonly AnsweredQuestion[]) {
    const total = shareOfAnswers(answers);
    const kinds = [...new Set(answers.map(({ question }) => question.kind))].sort();
    const partOf = (depth: number) => Math.min(depthParts - 1, Math.floor(depth * depthParts));
    return {
        ...total,
        interval: wilson(total.right, total.asked),
        byDepth: Array.from({ length: depthParts }, (_, part) =>
            shareOfAnswers(answers.filter(({ question }) => partOf(question.depth) === part))
        ),
        byKind: Object.fromEntries(
            kinds.map((kind) => [kind, shareOfAnswers(answers.filter(({ question }) => question.kind === kind))])
        ),
        wrong: wrongOf(answers)
    };
}

function wrongOf(answers: readonly AnsweredQuestion[]): WrongAnswer[] {
    return answers
        .filter(({ score }) => score < 1)
        .map(({ question: { text, expected, depth }, answer }) => ({ question: text, expected, answer, depth }));
}

function shareOfAnswers(answers: readonly AnsweredQuestion[]): Share {
    return shareOf(answers.map(({ score }) => score));
}
