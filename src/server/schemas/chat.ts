import { maxTopLogprobs, minOneToken, promptProgressSchema, samplingShape, usageSchema } from "./sampling.js";
import { optional, text, z } from "./zod.js";

const textPart = z.strictObject({ type: z.literal("text"), text: text() });
const content = z.union([text(), z.array(textPart).min(1)]);

const toolCall = z.strictObject({
    id: z.string().min(1).max(200),
    type: z.literal("function"),
    function: z.strictObject({ name: z.string(), arguments: text() })
});

const name = optional(z.string()).openapi({ description: "Without effect; templates have no place for it" });

export const messageSchema = z
    .discriminatedUnion("role", [
        z.strictObject({ role: z.literal("system"), content, name }),
        z.strictObject({ role: z.literal("developer"), content, name }),
        z.strictObject({ role: z.literal("user"), content, name }),
        z.strictObject({
            role: z.literal("assistant"),
            content: content.nullish(),
            refusal: z.null().optional(),
            tool_calls: optional(z.array(toolCall)),
            name
        }),
        z.strictObject({ role: z.literal("tool"), tool_call_id: z.string(), content })
    ])
    .openapi("ChatMessage");

const toolName = z.string().regex(/^[a-zA-Z0-9_-]{1,64}$/);
export const toolSchema = z.strictObject({
    type: z.literal("function"),
    function: z.strictObject({
        name: toolName,
        description: optional(text()),
        parameters: optional(z.record(z.string(), z.unknown())),
        strict: optional(z.boolean())
    })
});

const jsonSchema = z.strictObject({
    name: toolName,
    description: optional(text()),
    schema: z.record(z.string(), z.unknown()),
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
        messages: z.array(messageSchema).min(1),
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
        store: optional(z.literal(false)).openapi({ description: "Chats are not stored; use /v1/responses" }),
        modalities: optional(z.tuple([z.literal("text")])),
        service_tier: optional(z.enum(["auto", "default"]))
    })
    .openapi("ChatCompletionRequest");

export type ChatRequest = z.infer<typeof chatRequestSchema>;

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
                    tool_calls: z.array(toolCall).optional()
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
                    tool_calls: z
                        .array(
                            z.object({
                                index: z.int(),
                                id: z.string(),
                                type: z.literal("function"),
                                function: z.object({ name: z.string(), arguments: z.string() })
                            })
                        )
                        .optional()
                }),
                logprobs: logprobs.optional(),
                finish_reason: finishReason.nullable()
            })
        ),
        usage: usageSchema.nullish(),
        prompt_progress: promptProgressSchema.optional()
    })
    .openapi("ChatCompletionChunk");
