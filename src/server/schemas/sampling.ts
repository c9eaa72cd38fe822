import { optional, text, z } from "./zod.js";

/** Bounds on what a request may cost. */
const maxStopStrings = 16;
const maxStopLength = 256;
const maxBiases = 1024;
export const maxChoices = 128;
export const maxTopLogprobs = 20;
/** The chat template takes about 0.1 ms for each. */
export const maxMessages = 10_000;
const maxTokens = 2 ** 31 - 1;

const stopString = text().min(1).max(maxStopLength);

/** What chats and completions have in common. */
export const samplingShape = {
    model: optional(z.string()).openapi({ description: "The id that GET /v1/models lists; left out: that model" }),
    temperature: optional(z.number().min(0).max(2)).openapi({
        description: "0 takes the most probable token; left out: as the model file says, or 1"
    }),
    top_p: optional(z.number().gt(0).max(1)),
    top_k: optional(z.int().min(0).max(maxTokens)).openapi({ description: "0: all tokens" }),
    min_p: optional(z.number().min(0).max(1)),
    seed: optional(
        z
            .int()
            .min(0)
            .max(2 ** 32 - 1)
    ),
    stop: optional(z.union([stopString, z.array(stopString).max(maxStopStrings)])),
    n: optional(z.int().min(1).max(maxChoices)),
    logit_bias: optional(
        z
            .record(z.string().regex(/^\d{1,10}$/), z.number().min(-100).max(100))
            .refine((value) => Object.keys(value).length <= maxBiases, { error: `has more than ${maxBiases} tokens` })
    ),
    presence_penalty: optional(z.number().min(-2).max(2)),
    frequency_penalty: optional(z.number().min(-2).max(2)),
    stream: optional(z.boolean()),
    stream_options: optional(z.strictObject({ include_usage: optional(z.boolean()) })),
    return_progress: optional(z.boolean()).openapi({
        description: "Send `prompt_progress` while a prompt is read; with `stream` only"
    }),
    user: optional(z.string()).openapi({ description: "Without effect" }),
    armt: optional(
        z.strictObject({
            memory: optional(z.string().max(100)).openapi({ description: "Id of a memory to continue" }),
            closeBeforeQuestion: optional(z.boolean()).openapi({
                description: "Whether a question starts a new segment; left out: as the model was trained"
            }),
            deadline_ms: optional(z.int().min(1)).openapi({ description: "Time that the request may take" })
        })
    )
};

export const maxTokensSchema = optional(z.int().min(0).max(maxTokens));
export const minOneToken = optional(z.int().min(1).max(maxTokens));

export const usageSchema = z
    .object({
        prompt_tokens: z.int(),
        completion_tokens: z.int(),
        total_tokens: z.int(),
        prompt_tokens_details: z.object({
            cached_tokens: z.int().openapi({ description: "Tokens of the prompt that were truly not read again" })
        })
    })
    .openapi("Usage");

export const promptProgressSchema = z
    .object({
        total: z.int(),
        cache: z.int(),
        processed: z.int(),
        time_ms: z.int(),
        armt: z.object({ segments: z.int(), cells: z.int(), layers: z.int() }).optional()
    })
    .openapi("PromptProgress");
