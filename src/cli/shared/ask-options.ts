import type { Argv } from "yargs";
import type { AskFlags } from "../../convert/asking.js";
import { readEscapes } from "./escapes.js";
import { groups } from "./option-groups.js";

/** How a model was asked in its training, and what else only commands that write a model file take. */
export interface AskArguments {
    closeBeforeQuestion?: boolean;
    questionBefore?: string;
    questionAfter?: string;
    questionStart?: string;
    earlierFingerprint?: string[];
}

export function addAskOptions<T>(parser: Argv<T>): Argv<T & AskArguments> {
    const group = groups.asking;
    const text = { type: "string", group } as const;
    return parser
        .option("close-before-question", {
            type: "boolean",
            group,
            describe: "The model was trained with questions that start a new segment"
        })
        .option("question-before", {
            ...text,
            describe: "Text before a question without a chat template (\\n: new line)"
        })
        .option("question-after", { ...text, describe: "Text after it" })
        .option("question-start", {
            ...text,
            describe: "Text that every question begins with, such as <|im_start|>user [default: --question-before]"
        })
        .option("earlier-fingerprint", {
            ...text,
            array: true,
            describe: "Fingerprint of an earlier file of this model, whose memories fit this one; repeat for several"
        }) as Argv<T & AskArguments>;
}

export function askFlags(argv: AskArguments): AskFlags {
    const text = (value: string | undefined) => (value === undefined ? undefined : readEscapes(value));
    return {
        close: argv.closeBeforeQuestion,
        before: text(argv.questionBefore),
        after: text(argv.questionAfter),
        start: text(argv.questionStart)
    };
}
