import { maxTokensSchema, promptProgressSchema, samplingShape, usageSchema } from "./sampling.js";
import { optional, text, z } from "./zod.js";

/** Prompts in one request. */
const maxPrompts = 128;

export const tokenIdSchema = z
    .int()
    .min(0)
    .max(2 ** 31 - 1);
const tokenIds = z.array(tokenIdSchema).min(1);

export const completionRequestSchema = z
    .strictObject({
        ...samplingShape,
        prompt: z
            .union([text(), z.array(text()).min(1).max(maxPrompts), tokenIds, z.array(tokenIds).min(1).max(maxPrompts)])
            .openapi({ description: "Text, texts, token ids, or lists of token ids" }),
        max_tokens: maxTokensSchema,
        logprobs: optional(z.int().min(0).max(5)),
        echo: optional(z.literal(false)),
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
                        token_logprobs: z.array(z.number()),
                        top_logprobs: z.array(z.record(z.string(), z.number())),
                        text_offset: z.array(z.int())
                    })
                    .nullable(),
                finish_reason: z.enum(["stop", "length"]).nullable()
            })
        ),
        usage: usageSchema.nullish(),
        prompt_progress: promptProgressSchema.optional()
    })
    .openapi("Completion");
