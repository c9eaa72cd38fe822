import {
    llamaServerShape,
    maxTokensSchema,
    promptProgressSchema,
    samplingShape,
    timingsSchema,
    usageSchema
} from "./sampling.js";
import { idList, optional, text, tokenIds, z } from "./zod.js";

/** Prompts in one request. */
const maxPrompts = 128;

export const tokenIdSchema = z
    .int()
    .min(0)
    .max(2 ** 31 - 1);

const texts = z.array(text()).min(1).max(maxPrompts);
const lists = z.array(tokenIds()).min(1).max(maxPrompts);

/** The first item tells which form is meant; a union would try every form on each of a million ids. */
const promptSchema = z
    .unknown()
    .superRefine((value, context) => {
        const [first] = Array.isArray(value) ? (value as unknown[]) : [];
        const form = !Array.isArray(value)
            ? text()
            : typeof first === "string"
              ? texts
              : Array.isArray(first)
                ? lists
                : tokenIds();
        const { length } = Array.isArray(value) ? value : [];
        if (length > maxPrompts && (form === texts || form === lists))
            return context.addIssue({ code: "custom", message: `has more than ${maxPrompts} prompts` });
        for (const issue of form.safeParse(value).error?.issues.slice(0, 1) ?? [])
            context.addIssue({ code: "custom", path: issue.path, message: issue.message });
    })
    .openapi({
        description: "Text, texts, token ids, or lists of token ids",
        oneOf: [
            { type: "string" },
            { type: "array", items: { type: "string" }, minItems: 1, maxItems: maxPrompts },
            idList,
            { type: "array", items: idList, minItems: 1, maxItems: maxPrompts }
        ]
    }) as unknown as z.ZodType<string | string[] | number[] | number[][]>;

export const completionRequestSchema = z
    .strictObject({
        ...samplingShape,
        ...llamaServerShape,
        prompt: promptSchema,
        max_tokens: maxTokensSchema,
        logprobs: optional(z.int().min(0).max(5)),
        echo: optional(z.boolean()).openapi({
            description: "Puts the prompt before the answer, with its log-probabilities if `logprobs` is given"
        }),
        best_of: optional(z.literal(1)),
        suffix: optional(z.null())
    })
    .openapi("CompletionRequest");

export type CompletionRequest = z.infer<typeof completionRequestSchema>;

export const completionResponseSchema = z
    .object({
        id: z.string(),
        object: z.literal("text_completion"),
        created: z.int(),
        model: z.string(),
        system_fingerprint: z.string(),
        choices: z.array(
            z.object({
                index: z.int(),
                text: z.string(),
                logprobs: z
                    .object({
                        tokens: z.array(z.string()),
                        token_logprobs: z.array(z.number().nullable()),
                        top_logprobs: z.array(z.record(z.string(), z.number()).nullable()),
                        text_offset: z.array(z.int())
                    })
                    .nullable(),
                finish_reason: z.enum(["stop", "length"]).nullable()
            })
        ),
        usage: usageSchema.nullish(),
        timings: timingsSchema.optional(),
        prompt_progress: promptProgressSchema.optional()
    })
    .openapi("Completion");
