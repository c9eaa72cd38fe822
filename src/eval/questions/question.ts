/** A question about a text. */
export interface Question {
    readonly text: string;
    /** The beginning of a sentence that the answer ends, where the question can be asked that way too. */
    readonly completion?: string;
    /** Kind of question, for results by kind. */
    readonly kind: string;
    /** A right answer, for people, and for the length of an answer. */
    readonly expected: string;
    /** Position in the text of what the question is about, from 0 to 1. */
    readonly depth: number;
    /** How right an answer is, from 0 to 1. */
    score(answer: string): number;
}

/** A text that a model reads, and what it is asked afterwards. */
export interface QuestionedText {
    readonly questions: readonly Question[];
    /** The sentences of the text, each with the space or newline before it. */
    sentences(): Iterable<string>;
}

/** What a text is made for. */
export interface TextOptions {
    /** Longest length. Unit: tokens. */
    tokens: number;
    /** The same seed gives the same text. */
    seed: number;
    /** Number of the text, from 0: texts with consecutive numbers share as little as possible. */
    index: number;
    /** Returns the number of tokens in a text. */
    countTokens: (text: string) => number;
}

export type MakeText = (options: TextOptions) => QuestionedText;

/**
 * Forms of a question: the last turn of a chat, text between the model's own words for a question (`plain`), or the
 * beginning of a sentence (`completion`).
 */
export const questionForms = ["chat", "plain", "completion"] as const;
export type QuestionForm = (typeof questionForms)[number];
