import { existsSync } from "node:fs";
import { knownModels } from "../../../plugin/model/known-models.js";
import { resolveModel } from "../../../plugin/model/model-cache.js";
import { ArmtError } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";
import type { RunOptions } from "./options.js";

/** The options of `armt run` as they are given: the model and the prompt may be arguments too. */
export interface GivenRunOptions extends RunOptions {
    input?: string[];
}

/**
 * Finds out which arguments are the model and the prompt. The model comes first, unless `-m` names it. A single
 * argument is the prompt if it is empty, or has white space and no file has this name.
 * @throws {UsageError} for more arguments than that, and for a prompt given twice
 * @throws {ArmtError} for a model without a file, which may have been meant as a prompt
 */
export function placeArguments({ input = [], ...options }: GivenRunOptions): RunOptions {
    const [first, second, third] = input;
    if (first === undefined) return options;
    const isPrompt = options.model !== undefined || (second === undefined && /^$|\s/.test(first) && !existsSync(first));
    const unknown = isPrompt ? second : third;
    if (unknown !== undefined)
        throw new UsageError(
            `unexpected argument ${JSON.stringify(unknown)}; put quotes around a prompt of several words`
        );
    const prompt = isPrompt ? first : second;
    if (prompt !== undefined && options.prompt !== undefined)
        throw new UsageError("the prompt is given as an argument and with --prompt; give it once");
    if (!isPrompt) checkModel(first);
    return { ...options, model: isPrompt ? options.model : first, prompt: prompt ?? options.prompt };
}

function checkModel(model: string): void {
    if (knownModels.some(({ name }) => name === model)) return;
    try {
        resolveModel(model);
    } catch (error) {
        const advice = "a prompt of one word needs --prompt, and one of several words needs quotes";
        throw new ArmtError(`${error instanceof Error ? error.message : error}; ${advice}`, { cause: error });
    }
}
