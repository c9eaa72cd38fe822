import process from "node:process";
import { type LlamaModel, LlamaVocabularyType, type Token } from "../../../plugin/index.js";
import { beginTokens } from "../../../plugin/memory/feed.js";
import { readTokenIds } from "../../model/token-ids.js";
import { ArmtError, quote } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";
import { openText } from "./text-input.js";

/** The source of a prompt: at most one of these options, or standard input if none is set. */
export interface PromptSource {
    prompt?: string;
    file?: string;
    tokens?: string;
}

/** A prompt before the model's tokenizer is available. */
export type Prompt =
    | { readonly ids: readonly number[] }
    | {
          readonly text: string;
          /** Whether the prompt continues a text that was read before. It then gets no begin token. */
          readonly follows?: boolean;
          /** Whether names of special tokens in the text become these tokens. Default: `false`. */
          readonly special?: boolean;
      };

/**
 * Reads the prompt. This is cheap, so it happens before the model is loaded.
 * @throws {UsageError} if there is no source or more than one, or the prompt of the command line is empty
 * @throws {ArmtError} if the prompt's file cannot be read or is empty
 */
export async function readPrompt({ prompt, file, tokens }: PromptSource): Promise<Prompt> {
    if ([prompt, file, tokens].filter((source) => source !== undefined).length > 1)
        throw new UsageError("--prompt, --file and --tokens exclude each other");
    if (tokens !== undefined) return { ids: await readTokenIds(tokens) };
    if (prompt === "") throw new UsageError("the prompt is empty; it needs at least one character");
    const text = prompt ?? (file === undefined ? await readStandardInput() : await readTextFile(file));
    if (text === "") {
        const name = file === undefined || file === "-" ? "standard input" : quote(file);
        throw new ArmtError(`${name} is empty; a prompt needs at least one character`);
    }
    return { text };
}

/** @throws {ArmtError} if the prompt is text and the model has no tokenizer */
export function tokenizePrompt(prompt: Prompt, model: LlamaModel): Token[] {
    if ("ids" in prompt) return prompt.ids.map((id) => id as Token);
    needTokenizer(model);
    const tokens = model.tokenize(prompt.text, prompt.special);
    return prompt.follows === true ? tokens : [...beginTokens(model, tokens), ...tokens];
}

/** @throws {ArmtError} if the model has no tokenizer */
export function needTokenizer(model: LlamaModel): void {
    if (model.vocabularyType === LlamaVocabularyType.none)
        throw new ArmtError("this model has no tokenizer; give the prompt as token ids with --tokens file.json");
}

async function readStandardInput(): Promise<string> {
    if (process.stdin.isTTY) throw new UsageError("no prompt; give --prompt, --file or --tokens, or pipe it in");
    return await readTextFile("-");
}

async function readTextFile(file: string): Promise<string> {
    let text = "";
    for await (const piece of (await openText(file)).pieces) text += piece;
    return text;
}
