import type { Argv } from "yargs";
import { stateTypes } from "../../../../plugin/native/enums.js";
import type { QuestionForm } from "../../../eval/questions/question.js";
import { type WayName, ways } from "../../../eval/questions/ways.js";
import type { ModelOptions } from "../../../model/options.js";
import { readChoices } from "../../../util/choices.js";
import { UsageError } from "../../../util/failure.js";
import { parseLength } from "../../../util/lengths.js";
import { addComputingOptions, checkModelOptions } from "../../shared/model-options.js";
import { checkNumber } from "../../shared/numbers.js";

/** Options of all commands that hide something in texts and ask about it. */
export interface QuestionOptions extends Omit<ModelOptions, "model"> {
    model?: string | string[];
    base?: string;
    lengths: string;
    questions: number;
    seed: number;
    form?: string;
    through: WayName;
    json?: string;
    plot?: string;
}

/** @param forms the forms that this task's questions can take; without them, there is no `--form` */
export function addQuestionOptions(
    parser: Argv<object>,
    forms?: readonly QuestionForm[],
    lengths = "4k,32k,128k"
): void {
    parser
        .option("model", {
            alias: "m",
            type: "string",
            array: true,
            nargs: 1,
            describe: "Model file (.gguf) or name (armt pull); repeat to compare several [default: the included model]"
        })
        .option("base", {
            type: "string",
            describe: "Plain model file, asked the same questions with the whole text in its context"
        })
        .option("lengths", { type: "string", default: lengths, describe: "Tokens to read, e.g. 4k,1m" })
        .option("questions", {
            type: "number",
            default: 50,
            describe: "Minimum number of questions for each task and length"
        })
        .option("seed", { type: "number", default: 1, describe: "The same seed gives the same texts" });
    if (forms !== undefined)
        parser.option("form", {
            type: "string",
            describe: `How to ask: ${forms.join(", ")}, or several with commas [default: as the model's file says]`
        });
    parser
        .option("through", {
            choices: ways,
            default: "memory" satisfies WayName,
            describe:
                "How texts and questions reach the model: memory (closes the last segment), read (as armt read and " +
                "ask), chat (LlamaChatSession) or server (armt serve)"
        })
        .option("state-type", {
            choices: stateTypes,
            describe: "Number type of the associative memory [default: f32]"
        })
        .option("json", { type: "string", describe: "File to write all results to" })
        .option("plot", { type: "string", describe: "SVG file to write: recall by length and depth" });
    addComputingOptions(parser);
}

/** @throws {UsageError} for an option that can't be meant */
export function checkQuestionOptions(options: QuestionOptions): void {
    checkModelOptions({ ...options, kvType: "f16" });
    checkNumber("questions", options.questions, { min: 1 });
    checkNumber("seed", options.seed, { min: 0 });
}

/** @throws {UsageError} if it's no list of lengths */
export function readLengths(text: string): number[] {
    try {
        return text.split(",").map(parseLength);
    } catch (error) {
        throw new UsageError(`--lengths: ${error instanceof Error ? error.message : String(error)}`);
    }
}

/** @throws {UsageError} for a form that the task does not have */
export function readForms(text: string | undefined, forms: readonly QuestionForm[]): QuestionForm[] | undefined {
    return text === undefined ? undefined : readChoices("form", text, forms);
}
