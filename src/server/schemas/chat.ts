import {
    maxMessages,
    maxTopLogprobs,
    minOneToken,
    promptProgressSchema,
    samplingShape,
    usageSchema
} from "./sampling.js";
import { optional, record, text, z } from "./zod.js";

const never = z.null().optional();
const unused = z.unknown().optional().openapi({ description: "Without effect" });

const textPart = z.strictObject({ type: z.literal("text"), text: text(), annotations: unused, cache_control: unused });
const refusalPart = z.strictObject({ type: z.literal("refusal"), refusal: text() });
const content = z.union([text(), z.array(textPart).min(1)]);

const toolCall = z.strictObject({
    id: z.string().min(1).max(200),
    type: optional(z.literal("function")),
    function: z.strictObject({ name: text(), arguments: text().nullish(), parsed_arguments: unused, output: never }),
    index: unused
});

const name = optional(text()).openapi({ description: "Used if the chat template has a place for it" });
/** Keys that clients keep with messages of all roles, from their own lists or from the type of an assistant's. */
const kept = {
    id: unused,
    index: unused,
    annotations: unused,
    parsed: unused,
    refusal: never,
    audio: never,
    function_call: never,
    tool_calls: never,
    tool_call_id: never,
    reasoning_content: never,
    reasoning: never
};

/**
 * An assistant's message as clients keep it, with the keys that this API and other servers add to their answers. Keys
 * that cannot change the next answer are accepted and ignored.
 */
const assistantMessage = z.strictObject({
    role: z.literal("assistant"),
    content: z.union([text(), z.array(z.union([textPart, refusalPart]))]).nullish(),
    refusal: optional(text()),
    tool_calls: optional(z.array(toolCall)),
    name,
    reasoning_content: optional(text()).openapi({
        description: "The model's reasoning; used if the chat template has a place for it"
    }),
    reasoning: optional(text()).openapi({ description: "Another name of `reasoning_content`" }),
    reasoning_details: unused,
    thinking_blocks: unused,
    provider_specific_fields: unused,
    annotations: unused,
    parsed: unused,
    index: unused,
    id: unused,
    audio: never,
    function_call: never,
    tool_call_id: never
});

export const messageSchema = z
    .discriminatedUnion("role", [
        z.strictObject({ role: z.literal("system"), content, name, ...kept }),
        z.strictObject({ role: z.literal("developer"), content, name, ...kept }),
        z.strictObject({ role: z.literal("user"), content, name, ...kept }),
        assistantMessage,
        z.strictObject({
            role: z.literal("tool"),
            content: z.union([text(), z.array(textPart)]),
            name,
            ...kept,
            tool_call_id: z.string()
        })
    ])
    .openapi("ChatMessage");

const anyObject = record<unknown>(() => undefined);

/** Templates have a handful of variables. */
const maxVariables = 64;
const templateVariables = record<unknown>((name) =>
    name.length > 64 ? "the name has more than 64 characters" : undefined
).refine((value) => Object.keys(value ?? {}).length <= maxVariables, {
    error: `has more than ${maxVariables} variables`
});

const toolName = z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/);
export const toolSchema = z.strictObject({
    type: z.literal("function"),
    function: z.strictObject({
        name: toolName,
        description: optional(text()),
        parameters: optional(anyObject),
        strict: optional(z.boolean())
    })
});

const jsonSchema = z.strictObject({
    name: toolName,
    description: optional(text()),
    schema: optional(anyObject),
    strict: optional(z.boolean())
});

export const responseFormatSchema = z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("text") }),
    z.strictObject({ type: z.literal("json_object") }),
    z.strictObject({ type: z.literal("json_schema"), json_schema: jsonSchema })
]);

export const chatRequestSchema = z
    .strictObject({
        ...samplingShape,
        messages: z.array(messageSchema).min(1).max(maxMessages),
        max_tokens: minOneToken,
        max_completion_tokens: minOneToken,
        logprobs: optional(z.boolean()),
        top_logprobs: optional(z.int().min(0).max(maxTopLogprobs)),
        response_format: optional(responseFormatSchema),
        tools: optional(z.array(toolSchema).max(128)),
        tool_choice: optional(
            z.union([
                z.enum(["none", "auto", "required"]),
                z.strictObject({ type: z.literal("function"), function: z.strictObject({ name: toolName }) })
            ])
        ),
        parallel_tool_calls: optional(z.boolean()),
        chat_template_kwargs: optional(templateVariables).openapi({
            description: "Variables for the model's chat template, such as `enable_thinking`"
        }),
        store: optional(z.literal(false)).openapi({ description: "Chats are not stored; use /v1/responses" }),
        modalities: optional(z.tuple([z.literal("text")])),
        service_tier: optional(z.enum(["auto", "default"]))
    })
    .openapi("ChatCompletionRequest");

export type ChatRequest = z.infer<typeof chatRequestSchema>;

const answeredCall = z.object({
    id: z.string(),
    type: z.literal("function"),
    function: z.object({ name: z.string(), arguments: z.string() })
});
const tokenLogprob = z.object({ token: z.string(), logprob: z.number(), bytes: z.array(z.int()).nullable() });
const logprobs = z
    .object({ content: z.array(tokenLogprob.extend({ top_logprobs: z.array(tokenLogprob) })), refusal: z.null() })
    .nullable();
const finishReason = z.enum(["stop", "length", "tool_calls"]);

export const chatResponseSchema = z
    .object({
        id: z.string(),
        object: z.literal("chat.completion"),
        created: z.int(),
        model: z.string(),
        system_fingerprint: z.string(),
        choices: z.array(
            z.object({
                index: z.int(),
                message: z.object({
                    role: z.literal("assistant"),
                    content: z.string().nullable(),
                    refusal: z.null(),
                    tool_calls: z.array(answeredCall).optional()
                }),
                logprobs,
                finish_reason: finishReason
            })
        ),
        usage: usageSchema
    })
    .openapi("ChatCompletion");

export const chatChunkSchema = z
    .object({
        id: z.string(),
        object: z.literal("chat.completion.chunk"),
        created: z.int(),
        model: z.string(),
        system_fingerprint: z.string(),
        choices: z.array(
            z.object({
                index: z.int(),
                delta: z.object({
                    role: z.literal("assistant").optional(),
                    content: z.string().nullable().optional(),
                    refusal: z.null().optional(),
                    tool_calls: z.array(answeredCall.extend({ index: z.int() })).optional()
                }),
                logprobs: logprobs.optional(),
                finish_reason: finishReason.nullable()
            })
        ),
        usage: usageSchema.nullish(),
        prompt_progress: promptProgressSchema.optional()
    })
    .openapi("ChatCompletionChunk");
