import type { Token } from "../../plugin/index.js";
import { TextStream } from "../generation/TextStream.js";
import { TimeSlice } from "../util/TimeSlice.js";
import type { Engine } from "./engine/Engine.js";
import { badParameter } from "./errors.js";
import type { ModelServer } from "./Server.js";
import type { CompletionRequest } from "./schemas/completions.js";

interface PromptOptions {
    /** Whether the prompt continues a memory, which has the begin token already. */
    continues: boolean;
    signal: AbortSignal;
}

/** @throws {ApiError} for a token that the model does not have */
export async function promptsOf(
    { engine }: ModelServer,
    prompt: CompletionRequest["prompt"],
    options: PromptOptions
): Promise<Token[][]> {
    if (typeof prompt === "string") return [await promptOf(engine, prompt, "prompt", options)];
    if (typeof prompt[0] === "number") return [checkTokens(engine, prompt as number[], "prompt")];
    const prompts: Token[][] = [];
    for (const [i, item] of prompt.entries())
        prompts.push(
            typeof item === "string"
                ? await promptOf(engine, item, `prompt.${i}`, options)
                : checkTokens(engine, item as number[], `prompt.${i}`)
        );
    return prompts;
}

/** @throws {ApiError} if the text has no tokens */
export async function promptOf(
    engine: Engine,
    text: string,
    param: string,
    { continues, signal }: PromptOptions
): Promise<Token[]> {
    const tokens = await engine.tokenize(text, { special: true, begin: !continues, signal });
    if (tokens.length === 0) throw badParameter(param, "the prompt is empty");
    return tokens;
}

/** @throws {ApiError} for a token that the model does not have */
export function checkTokens({ vocabSize }: Engine, ids: readonly number[], param: string): Token[] {
    for (let i = 0; i < ids.length; i++)
        if (ids[i]! >= vocabSize)
            throw badParameter(`${param}.${i}`, `there is no token ${ids[i]}; the model's are 0 to ${vocabSize - 1}`);
    return ids as Token[];
}

/** Tokens that are written at once. */
const step = 2 ** 14;

/** The text of tokens, with the names of special ones. It lets other requests run in between. */
export async function textOfTokens({ model }: Engine, tokens: readonly Token[], signal: AbortSignal): Promise<string> {
    const text = new TextStream(model, { special: true });
    const parts: string[] = [];
    const slice = new TimeSlice(signal);
    for (let start = 0; start < tokens.length; start += step) {
        for (const token of tokens.slice(start, start + step)) parts.push(text.push(token));
        if (slice.isOver) await slice.pause();
    }
    return parts.join("") + text.end();
}
