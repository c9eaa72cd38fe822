import { toJson } from "../../generation/chat-template/lossless.js";
import {
    llamaServerShape,
    maxMessages,
    maxTopLogprobs,
    metadataSchema,
    minOneOrDefault,
    promptProgressSchema,
    samplingShape,
    serviceShape,
    timingsSchema,
    usageSchema
} from "./sampling.js";
import { anyObject, isEmpty, isPlainObject, optional, record, text, textOnly, toolName, unused, z } from "./zod.js";

const never = z.unknown().refine(isEmpty, { error: "expected null" }).optional();

const textPart = z.strictObject({
    // two of them are those of /v1/responses
    type: z.enum(["text", "input_text", "output_text"]),
    text: text(),
    annotations: unused,
    cache_control: unused,
    id: unused,
    index: unused,
    logprobs: unused
});
const refusalPart = z.strictObject({ type: z.literal("refusal"), refusal: text() });
/** The model's reasoning, as Mistral's API and others have it among the parts of an answer. */
const thoughtPart = z.strictObject({
    type: z.enum(["thinking", "reasoning"]),
    thinking: z.union([text(), z.array(z.discriminatedUnion("type", [textPart], textOnly))]).optional(),
    text: text().optional(),
    signature: unused,
    closed: unused,
    id: unused,
    index: unused
});
const content = z.union([text(), z.array(z.discriminatedUnion("type", [textPart], textOnly)).min(1)]);

const toolCall = z.strictObject({
    id: z.string().max(200),
    type: optional(z.literal("function")),
    function: z.strictObject({
        name: text(),
        arguments: z
            .union([text(), anyObject.transform((value) => toJson(value))])
            .nullish()
            .openapi({
                description: "JSON as a string; an object is taken too, as other servers answer with"
            }),
        parsed_arguments: unused,
        output: never
    }),
    index: unused,
    status: unused,
    extra_content: unused,
    provider_specific_fields: unused,
    thought_signature: unused,
    cache_control: unused
});

const name = optional(text()).openapi({ description: "Used if the chat template has a place for it" });
/** What clients and other servers note about a message. */
const notes = {
    id: unused,
    index: unused,
    status: unused,
    metadata: unused,
    model: unused,
    created: unused,
    created_at: unused,
    timestamp: unused,
    annotations: unused,
    parsed: unused,
    cache_control: unused,
    provider_specific_fields: unused,
    provider_options: unused,
    providerOptions: unused,
    additional_kwargs: unused,
    response_metadata: unused
};
/** Keys that clients keep with messages of all roles, from their own lists or from the type of an assistant's. */
const kept = {
    ...notes,
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
    content: z
        .union([text(), z.array(z.discriminatedUnion("type", [textPart, refusalPart, thoughtPart], textOnly))])
        .nullish(),
    refusal: optional(text()),
    tool_calls: optional(z.array(toolCall)),
    name,
    reasoning_content: optional(text()).openapi({
        description: "The model's reasoning; used if the chat template has a place for it"
    }),
    reasoning: optional(text()).openapi({ description: "Another name of `reasoning_content`" }),
    thinking: optional(text()).openapi({ description: "Another name of `reasoning_content`" }),
    ...notes,
    reasoning_details: unused,
    reasoning_signature: unused,
    thinking_blocks: unused,
    extra_content: unused,
    citations: unused,
    content_filter_results: unused,
    context: unused,
    finish_reason: unused,
    logprobs: unused,
    stop_reason: unused,
    token_ids: unused,
    tool_plan: unused,
    usage: unused,
    usage_metadata: unused,
    invalid_tool_calls: unused,
    audio: never,
    function_call: never,
    tool_call_id: never
});

const anyMessage = z
    .discriminatedUnion("role", [
        z.strictObject({ role: z.literal("system"), content, name, ...kept }),
        z.strictObject({ role: z.literal("developer"), content, name, ...kept }),
        z.strictObject({ role: z.literal("user"), content, name, ...kept }),
        assistantMessage,
        z.strictObject({
            role: z.literal("tool"),
            content: z.union([text(), z.array(z.discriminatedUnion("type", [textPart], textOnly))]).nullish(),
            name,
            ...kept,
            tool_call_id: z.string(),
            is_error: unused,
            artifact: unused
        })
    ])
    .openapi("ChatMessage");

const messageKeys = new Set(anyMessage.options.flatMap(({ shape }) => Object.keys(shape)));

/** A message; keys that it does not have may be there if they are empty. */
export const messageSchema = z.preprocess(
    (message) =>
        isPlainObject(message)
            ? Object.fromEntries(
                  Object.entries(message).filter(([key, value]) => messageKeys.has(key) || !isEmpty(value))
              )
            : message,
    anyMessage
);

/** Templates have a handful of variables. */
const maxVariables = 64;
const templateVariables = record<unknown>((name) =>
    name.length > 64 ? "the name has more than 64 characters" : undefined
).refine((value) => Object.keys(value ?? {}).length <= maxVariables, {
    error: `has more than ${maxVariables} variables`
});

export const toolSchema = z.strictObject({
    type: z.literal("function"),
    function: z.strictObject({
        name: toolName,
        description: optional(text()),
        parameters: optional(anyObject),
        strict: optional(z.boolean()),
        cache_control: unused
    }),
    cache_control: unused
});

const chosenTool = z.strictObject({ type: z.literal("function"), function: z.strictObject({ name: toolName }) });

const jsonSchema = z.strictObject({
    name: toolName,
    description: optional(text()),
    schema: optional(z.union([z.boolean(), anyObject])),
    strict: optional(z.boolean())
});

export const responseFormatSchema = z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("text") }),
    z.strictObject({
        type: z.literal("json_object"),
        schema: optional(z.union([z.boolean(), anyObject])).openapi({ description: "As in llama-server" })
    }),
    z.strictObject({ type: z.literal("json_schema"), json_schema: jsonSchema })
]);

export const chatRequestSchema = z
    .strictObject({
        ...samplingShape,
        ...llamaServerShape,
        messages: z.array(messageSchema).min(1).max(maxMessages),
        max_tokens: minOneOrDefault,
        max_completion_tokens: minOneOrDefault,
        logprobs: optional(z.boolean()),
        top_logprobs: optional(z.int().min(0).max(maxTopLogprobs)),
        response_format: optional(responseFormatSchema),
        tools: optional(z.array(toolSchema).max(128)),
        tool_choice: optional(
            z.union([
                z.enum(["none", "auto", "required"]),
                chosenTool,
                z.strictObject({
                    type: z.literal("allowed_tools"),
                    allowed_tools: z.strictObject({
                        mode: z.enum(["auto", "required"]),
                        tools: z.array(chosenTool).min(1)
                    })
                })
            ])
        ),
        parallel_tool_calls: optional(z.boolean()),
        chat_template_kwargs: optional(templateVariables).openapi({
            description: "Variables for the model's chat template, such as `enable_thinking`"
        }),
        store: optional(z.literal(false)).openapi({ description: "Chats are not stored; use /v1/responses" }),
        modalities: optional(z.tuple([z.literal("text")])),
        reasoning_effort: optional(z.string().max(20)).openapi({
            description: "A variable of the chat template; without effect if that has none"
        }),
        metadata: optional(metadataSchema).openapi({ description: "Without effect" }),
        verbosity: unused,
        prediction: unused,
        ...serviceShape
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
        usage: usageSchema,
        timings: timingsSchema.optional()
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
        timings: timingsSchema.optional(),
        prompt_progress: promptProgressSchema.optional()
    })
    .openapi("ChatCompletionChunk");
