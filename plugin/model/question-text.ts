import type { LlamaModel, Token } from "node-llama-cpp";
import { type NativeModel, nativeModelOf } from "../node-llama-cpp/internals.js";
import type { ArmtModelInfo } from "../types.js";

/** Beginnings of questions. What their tokens have in common belongs to the form, not to the question. */
const samples = ["Where is it?", "a", "12", '"Who"'];

/** The text that a model's questions begin with, without white space that belongs to the question's first word. */
function startText({ ask }: ArmtModelInfo): string | undefined {
    const text = (ask?.start ?? ask?.before ?? "").trimEnd();
    return text === "" ? undefined : text;
}

/**
 * The tokens that a model's questions begin with; undefined if its file does not say, or if every question changes
 * them.
 */
export function questionStart(model: LlamaModel, info: ArmtModelInfo): readonly Token[] | undefined {
    const text = info.ask?.start ?? info.ask?.before;
    if (text === undefined || startText(info) === undefined) return undefined;
    const [first = [], ...others] = samples.map((sample) => model.tokenize(text + sample, true));
    const different = first.findIndex((id, i) => others.some((tokens) => tokens[i] !== id));
    const start = first.slice(0, different < 0 ? first.length : different);
    return start.length === 0 ? undefined : start;
}

/**
 * Tokenizes text before the start of a question apart from the question, as a model was trained whose questions start
 * a segment. Otherwise a token could hold the end of a text and the start of the question.
 */
export function separateQuestions(model: LlamaModel, info: ArmtModelInfo): void {
    const start = startText(info);
    if (start === undefined || info.ask?.close !== true) return;
    const native = nativeModelOf(model);
    const tokenize = native.tokenize.bind(native);
    const separate: NativeModel["tokenize"] = (text, specialTokens) => {
        const parts = splitBefore(text, start).map((part) => tokenize(part, specialTokens));
        if (parts.length === 1) return parts[0]!;
        const all = new Uint32Array(parts.reduce((sum, { length }) => sum + length, 0));
        let at = 0;
        for (const part of parts) {
            all.set(part, at);
            at += part.length;
        }
        return all;
    };
    Object.defineProperty(native, "tokenize", { value: separate, configurable: true });
}

/** The parts of a text, each but the first from one occurrence of `start` to the next. */
function splitBefore(text: string, start: string): string[] {
    const parts: string[] = [];
    let done = 0;
    for (let at = text.indexOf(start, 1); at >= 0; at = text.indexOf(start, at + start.length)) {
        parts.push(text.slice(done, at));
        done = at;
    }
    return [...parts, text.slice(done)];
}
