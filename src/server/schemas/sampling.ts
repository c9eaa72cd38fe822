import { optional, record, text, unused, z } from "./zod.js";

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
    model: optional(z.string()).openapi({
        description: "An id that GET /v1/models lists; left out: the first, or the model of the memory"
    }),
    temperature: optional(z.number().min(0).max(2)).openapi({
        description: "0 takes the most probable token; left out: as the model file says, or 1"
    }),
    top_p: optional(z.number().gt(0).max(1)),
    top_k: optional(z.int().min(0).max(maxTokens)).openapi({ description: "0: all tokens" }),
    min_p: optional(z.number().min(0).max(1)),
    seed: optional(
        z
            .int()
            .min(-1)
            .max(2 ** 32 - 1)
    ).openapi({ description: "-1: another one for each request" }),
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
    stream_options: optional(
        z.strictObject({
            include_usage: optional(z.boolean()),
            include_obfuscation: optional(z.boolean()).openapi({ description: "Without effect" })
        })
    ),
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

/** Bounds of OpenAI's API. */
const maxMetadata = { pairs: 16, name: 64, value: 512 };

export const metadataSchema = record<string>(
    (name, value) => {
        if (name.length > maxMetadata.name) return `the name has more than ${maxMetadata.name} characters`;
        if (typeof value === "string" && value.length <= maxMetadata.value) return undefined;
        return `expected a string of at most ${maxMetadata.value} characters`;
    },
    { type: "string", maxLength: maxMetadata.value }
).refine((value) => Object.keys(value ?? {}).length <= maxMetadata.pairs, {
    error: `has more than ${maxMetadata.pairs} pairs`
});

/** What OpenAI's clients tell its service, and what has no meaning for a server of one's own. */
export const serviceShape = {
    service_tier: optional(z.enum(["auto", "default", "flex", "priority", "scale"])).openapi({
        description: "Without effect"
    }),
    prompt_cache_key: unused,
    prompt_cache_retention: unused,
    prompt_cache_options: unused,
    safety_identifier: unused
};

/** A parameter of llama-server that has one value here, the one that switches it off. */
function off(values: readonly unknown[], text: string) {
    return optional(
        z.unknown().refine((value) => values.includes(value), {
            error: `only ${text} is supported, which switches it off`
        })
    ).openapi({ description: `Only ${text}` });
}

/** A parameter of llama-server that changes nothing in an answer. */
const withoutEffect = (schema: z.ZodType) => optional(schema).openapi({ description: "Without effect" });

/** The samplers that llama-server names: those that answers go through, in their order, and those that are off. */
export const samplerOrder = ["penalties", "top_k", "top_p", "min_p", "temperature"] as const;
const samplersOff = ["dry", "top_n_sigma", "typ_p", "xtc"] as const;

/** llama-server's own parameters, which its clients send to all of its routes. */
export const llamaServerShape = {
    n_predict: optional(z.int().min(-1).max(maxTokens)).openapi({
        description: "As `max_tokens`; -1: as if it were left out"
    }),
    cache_prompt: optional(z.boolean()).openapi({ description: "false: read the whole prompt again" }),
    repeat_penalty: optional(z.number().gt(0).max(100)).openapi({
        description: "Divides the logits of tokens that the answer has"
    }),
    repeat_last_n: optional(z.int().min(-1).max(maxTokens)).openapi({
        description: "Last tokens of the answer that penalties count; -1: all, 0: none; left out: all"
    }),
    samplers: optional(z.array(z.enum([...samplerOrder, ...samplersOff])).max(20)).openapi({
        description: `Samplers in the order ${samplerOrder.join(", ")}; one that is left out is off`
    }),
    timings_per_token: optional(z.boolean()).openapi({ description: "Send `timings` with each part of a stream" }),
    id_slot: withoutEffect(z.int().min(-1)),
    n_keep: withoutEffect(z.int()),
    n_discard: withoutEffect(z.int()),
    n_cache_reuse: withoutEffect(z.int()),
    sse_ping_interval: withoutEffect(z.number()),
    typical_p: off([1], "1"),
    typ_p: off([1], "1"),
    top_n_sigma: off([-1, 0], "-1"),
    dynatemp_range: off([0], "0"),
    dynatemp_exponent: withoutEffect(z.number()),
    xtc_probability: off([0], "0"),
    xtc_threshold: withoutEffect(z.number()),
    dry_multiplier: off([0], "0"),
    dry_base: withoutEffect(z.number()),
    dry_allowed_length: withoutEffect(z.int()),
    dry_penalty_last_n: withoutEffect(z.int()),
    dry_sequence_breakers: withoutEffect(z.array(z.string())),
    mirostat: off([0], "0"),
    mirostat_tau: withoutEffect(z.number()),
    mirostat_eta: withoutEffect(z.number()),
    min_keep: off([0], "0"),
    n_indent: off([0], "0"),
    t_max_predict_ms: off([0, -1], "0"),
    post_sampling_probs: off([false], "false"),
    backend_sampling: withoutEffect(z.boolean()),
    t_max_prompt_ms: withoutEffect(z.int()),
    reasoning_format: withoutEffect(z.string())
};

/** llama-server's `timings`. */
export const timingsSchema = z
    .object({
        cache_n: z.int().openapi({ description: "Tokens of the prompt that were not read again" }),
        prompt_n: z.int().openapi({ description: "Tokens of the prompt that were read" }),
        prompt_ms: z.number(),
        prompt_per_token_ms: z.number(),
        prompt_per_second: z.number(),
        predicted_n: z.int().openapi({ description: "Tokens written" }),
        predicted_ms: z.number(),
        predicted_per_token_ms: z.number(),
        predicted_per_second: z.number()
    })
    .openapi("Timings");

const ownLimit = "-1: the server's limit, as in llama-server";
export const maxTokensSchema = optional(z.int().min(-1).max(maxTokens)).openapi({ description: ownLimit });
export const minOneOrDefault = optional(
    z
        .int()
        .min(-1)
        .max(maxTokens)
        .refine((value) => value !== 0, { error: "expected at least 1 token, or -1 for the server's limit" })
).openapi({ description: ownLimit });

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
