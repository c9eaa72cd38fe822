import { samplingShape } from "./sampling.js";
import { anyObject, optional, text, textOnly, toolName, unused, z } from "./zod.js";

const cacheControl = optional(z.looseObject({ type: z.literal("ephemeral") })).openapi({
    description: "Keeps a snapshot of the memory at the end of the last whole segment before this place"
});

const textBlock = z.strictObject({
    type: z.literal("text"),
    text: text(),
    cache_control: cacheControl,
    citations: unused
});
const textDocument = z.strictObject({
    type: z.literal("document"),
    source: z.discriminatedUnion(
        "type",
        [
            z.strictObject({ type: z.literal("text"), media_type: z.literal("text/plain"), data: text() }),
            z.strictObject({
                type: z.literal("content"),
                content: z.union([text(), z.array(z.discriminatedUnion("type", [textBlock], textOnly))])
            })
        ],
        textOnly
    ),
    title: optional(text()),
    context: optional(text()),
    citations: unused,
    cache_control: cacheControl
});
const searchResult = z.strictObject({
    type: z.literal("search_result"),
    title: text(),
    source: text(),
    content: z.array(textBlock),
    citations: unused,
    cache_control: cacheControl
});
const toolReference = z.strictObject({
    type: z.literal("tool_reference"),
    tool_name: text(),
    cache_control: cacheControl
});
const toolResult = z.strictObject({
    type: z.literal("tool_result"),
    tool_use_id: z.string().min(1).max(200),
    content: z
        .union([
            text(),
            z.array(z.discriminatedUnion("type", [textBlock, textDocument, searchResult, toolReference], textOnly))
        ])
        .optional(),
    toolset_name: unused,
    is_error: optional(z.boolean()),
    cache_control: cacheControl
});
const toolUse = z.strictObject({
    type: z.literal("tool_use"),
    id: z.string().min(1).max(200),
    name: text(),
    input: anyObject.default({}),
    caller: unused,
    toolset_name: unused,
    cache_control: cacheControl
});
const thinking = z.strictObject({ type: z.literal("thinking"), thinking: text(), signature: unused });
const redacted = z.strictObject({ type: z.literal("redacted_thinking"), data: unused });

/** Work of tools that only Anthropic's servers have. */
const foreignBlock = z
    .looseObject({
        type: z.enum([
            "advisor_tool_result",
            "bash_code_execution_tool_result",
            "code_execution_tool_result",
            "container_upload",
            "fallback",
            "mcp_tool_listing",
            "mcp_tool_result",
            "mcp_tool_use",
            "server_tool_use",
            "text_editor_code_execution_tool_result",
            "tool_search_tool_result",
            "web_fetch_tool_result",
            "web_search_tool_result"
        ])
    })
    .openapi({ description: "Left out of the prompt" });

const message = z.discriminatedUnion("role", [
    z.strictObject({
        role: z.literal("user"),
        content: z.union([
            text(),
            z.array(z.discriminatedUnion("type", [textBlock, textDocument, searchResult, toolResult], textOnly)).min(1)
        ])
    }),
    z.strictObject({
        role: z.literal("assistant"),
        content: z.union([
            text(),
            z.array(z.discriminatedUnion("type", [textBlock, toolUse, thinking, redacted, foreignBlock], textOnly))
        ])
    }),
    z.strictObject({
        role: z.literal("system"),
        content: z.union([text(), z.array(z.discriminatedUnion("type", [textBlock], textOnly))]),
        output_config: unused
    })
]);

const ownTool = z.strictObject({
    type: optional(z.literal("custom")),
    name: toolName,
    description: optional(text()),
    input_schema: anyObject,
    cache_control: cacheControl,
    strict: unused,
    eager_input_streaming: unused,
    defer_loading: unused,
    input_examples: unused,
    allowed_callers: unused
});
const serverTool = z
    .looseObject({ type: z.string().regex(/_\d{8}$|^mcp_toolset$/) })
    .openapi({ description: "Not offered to the model" });

const parallel = { disable_parallel_tool_use: optional(z.boolean()) };
const format = z.strictObject({ type: z.literal("json_schema"), schema: anyObject });

const { temperature, top_p, top_k, stream, armt } = samplingShape;

const shared = {
    model: samplingShape.model,
    messages: z.array(message).min(1),
    system: optional(z.union([text(), z.array(textBlock)])),
    tools: optional(z.array(z.union([ownTool, serverTool])).max(128)),
    tool_choice: optional(
        z.discriminatedUnion("type", [
            z.strictObject({ type: z.literal("auto"), ...parallel }),
            z.strictObject({ type: z.literal("any"), ...parallel }),
            z.strictObject({ type: z.literal("tool"), name: toolName, ...parallel }),
            z.strictObject({ type: z.literal("none") })
        ])
    ),
    output_config: optional(z.looseObject({ format: optional(format) })),
    output_format: optional(format),
    thinking: unused,
    context_management: unused,
    compaction: unused,
    mcp_servers: unused,
    speed: unused,
    betas: unused,
    cache_control: cacheControl,
    armt
};

export const messageRequestSchema = z
    .strictObject({
        ...shared,
        max_tokens: z
            .int()
            .min(1)
            .max(2 ** 31 - 1),
        stop_sequences: optional(z.array(z.string().min(1).max(256)).max(16)),
        temperature,
        top_p,
        top_k,
        stream,
        metadata: unused,
        container: unused,
        diagnostics: unused,
        fallbacks: unused,
        user_profile_id: unused,
        workspace_id: unused,
        inference_geo: unused,
        service_tier: unused
    })
    .openapi("MessageRequest");

export type MessageRequest = z.infer<typeof messageRequestSchema>;

export const countTokensRequestSchema = z.strictObject(shared).openapi("CountTokensRequest");

export type CountTokensRequest = z.infer<typeof countTokensRequestSchema>;

export const countTokensResponseSchema = z.object({ input_tokens: z.int() }).openapi("CountTokensResponse");

export const messageUsageSchema = z.object({
    input_tokens: z.int().openapi({ description: "Tokens that were read and not kept" }),
    cache_creation_input_tokens: z.int().openapi({
        description: "Tokens that were read up to the last snapshot kept, which a later request need not read"
    }),
    cache_read_input_tokens: z.int().openapi({ description: "Tokens that were truly not read again" }),
    output_tokens: z.int()
});

export const messageResponseSchema = z
    .object({
        id: z.string(),
        type: z.literal("message"),
        role: z.literal("assistant"),
        model: z.string(),
        content: z.array(
            z.discriminatedUnion("type", [
                z.object({ type: z.literal("text"), text: z.string() }),
                z.object({
                    type: z.literal("tool_use"),
                    id: z.string(),
                    name: z.string(),
                    input: z.record(z.string(), z.unknown())
                })
            ])
        ),
        stop_reason: z.enum(["end_turn", "max_tokens", "stop_sequence", "tool_use"]).nullable(),
        stop_sequence: z.string().nullable(),
        usage: messageUsageSchema
    })
    .openapi("Message");

export type MessageResponse = z.infer<typeof messageResponseSchema>;
