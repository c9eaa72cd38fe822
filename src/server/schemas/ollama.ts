import { maxTopLogprobs, samplingShape } from "./sampling.js";
import { anyObject, optional, text, toolName, unused, z } from "./zod.js";

const options = optional(
    z.looseObject({
        temperature: samplingShape.temperature,
        top_k: samplingShape.top_k,
        top_p: samplingShape.top_p,
        min_p: samplingShape.min_p,
        seed: samplingShape.seed,
        stop: samplingShape.stop,
        presence_penalty: samplingShape.presence_penalty,
        frequency_penalty: samplingShape.frequency_penalty,
        num_predict: optional(z.int().min(-2)).openapi({ description: "Below 0: up to the server's limit" })
    })
).openapi({ description: "Others, such as `num_ctx`, have no effect" });

const format = optional(z.union([z.literal("json"), anyObject]));

/** Clients may add the tag that Ollama takes for missing ones. */
const model = z
    .string()
    .min(1)
    .transform((name) => name.replace(/:latest$/, ""));

const shared = {
    model,
    stream: z.boolean().default(true),
    format,
    options,
    logprobs: optional(z.boolean()),
    top_logprobs: optional(z.int().min(0).max(maxTopLogprobs)),
    think: unused,
    keep_alive: unused,
    truncate: unused,
    shift: unused
};

const call = z.looseObject({
    id: optional(z.string()),
    function: z.looseObject({
        name: text(),
        arguments: optional(z.union([text(), anyObject]))
    })
});
const images = optional(z.array(z.unknown()).max(0, { error: "the model reads text only" }));
/** Ollama ignores what else a message has. */
const message = z.looseObject({
    role: z.enum(["system", "user", "assistant", "tool"]),
    content: text().optional(),
    thinking: optional(text()),
    tool_calls: optional(z.array(call)),
    tool_name: optional(text()),
    tool_call_id: optional(z.string()),
    images
});
const tool = z.strictObject({
    type: z.literal("function"),
    function: z.looseObject({
        name: toolName,
        description: optional(text()),
        parameters: optional(anyObject)
    })
});

export const ollamaChatRequestSchema = z
    .strictObject({ ...shared, messages: z.array(message).default([]), tools: optional(z.array(tool).max(128)) })
    .openapi("OllamaChatRequest");

export type OllamaChatRequest = z.infer<typeof ollamaChatRequestSchema>;

export const ollamaGenerateRequestSchema = z
    .strictObject({
        ...shared,
        prompt: optional(text()),
        system: optional(text()),
        raw: optional(z.literal(false)).openapi({ description: "For prompts without a template, use /v1/completions" }),
        images
    })
    .openapi("OllamaGenerateRequest");

export type OllamaGenerateRequest = z.infer<typeof ollamaGenerateRequestSchema>;

export const ollamaShowRequestSchema = z
    .strictObject({ model: model.optional(), name: model.optional(), verbose: unused })
    .openapi("OllamaShowRequest");

export const ollamaEmbedRequestSchema = z.looseObject({ model }).openapi("OllamaEmbedRequest");

const logprob = z.object({ token: z.string(), logprob: z.number(), bytes: z.array(z.int()).nullable() });
const logprobs = z.array(logprob.extend({ top_logprobs: z.array(logprob) })).optional();

const counts = {
    done_reason: z.enum(["stop", "length", "load"]).optional(),
    total_duration: z.int().optional(),
    load_duration: z.int().optional(),
    prompt_eval_count: z.int().optional(),
    prompt_eval_duration: z.int().optional(),
    eval_count: z.int().optional(),
    eval_duration: z.int().optional()
};

export const ollamaChatResponseSchema = z
    .object({
        model: z.string(),
        created_at: z.string(),
        message: z.object({
            role: z.literal("assistant"),
            content: z.string(),
            tool_calls: z
                .array(
                    z.object({ function: z.object({ name: z.string(), arguments: z.record(z.string(), z.unknown()) }) })
                )
                .optional()
        }),
        done: z.boolean(),
        logprobs,
        ...counts
    })
    .openapi("OllamaChatResponse");

export const ollamaGenerateResponseSchema = z
    .object({ model: z.string(), created_at: z.string(), response: z.string(), done: z.boolean(), logprobs, ...counts })
    .openapi("OllamaGenerateResponse");

export const ollamaErrorSchema = z.object({ error: z.string() }).openapi("OllamaError");
