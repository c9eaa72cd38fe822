import { existsSync } from "node:fs";
import { UsageError } from "../../util/failure.js";
import type { RunOptions } from "./options.js";

/** The options of `armt run` as they are given: the model and the prompt may be arguments too. */
export interface GivenRunOptions extends RunOptions {
    input?: string[];
}

/**
 * Finds out which arguments are the model and the prompt. The model comes first, unless `-m` names it. A single
 * argument is the prompt if it has white space and no file has this name.
 * @throws {UsageError} for more arguments than that, and for a prompt given twice
 */
export function placeArguments({ input = [], ...options }: GivenRunOptions): RunOptions {
    const [first, second, third] = input;
    if (first === undefined) return options;
    const isPrompt = options.model !== undefined || (second === undefined && /\s/.test(first) && !existsSync(first));
    const unknown = isPrompt ? second : third;
    if (unknown !== undefined)
        throw new UsageError(
            `unexpected argument ${JSON.stringify(unknown)}; put quotes around a prompt of several words`
        );
    const prompt = isPrompt ? first : second;
    if (prompt !== undefined && options.prompt !== undefined)
        throw new UsageError("the prompt is given as an argument and with --prompt; give it once");
    return { ...options, model: isPrompt ? options.model : first, prompt: prompt ?? options.prompt };
}
