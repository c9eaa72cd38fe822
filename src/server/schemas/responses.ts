import { chatRequestSchema } from "./chat.js";
import { maxMessages, maxTopLogprobs, metadataSchema, samplingShape, serviceShape } from "./sampling.js";
import { anyObject, isPlainObject, optional, text, textOnly, toolName, unused, z } from "./zod.js";

const itemId = optional(z.string().max(200)).openapi({ description: "Without effect" });
const callId = z.string().max(200);

/** A part of a text, with the keys that answers have. */
const textPart = z.strictObject({
    type: z.enum(["input_text", "output_text", "text", "reasoning_text", "summary_text"]),
    text: text(),
    annotations: unused,
    logprobs: unused,
    parsed: unused
});
const refusalPart = z.strictObject({ type: z.literal("refusal"), refusal: text() });
const content = z.union([text(), z.array(z.discriminatedUnion("type", [textPart, refusalPart], textOnly))]);

const messageItem = z.strictObject({
    type: z.literal("message"),
    role: z.enum(["system", "developer", "user", "assistant"]),
    content,
    id: itemId,
    created_by: unused,
    status: unused,
    phase: unused
});
const callItem = z.strictObject({
    type: z.literal("function_call"),
    call_id: callId,
    name: text(),
    arguments: text().default(""),
    id: itemId,
    status: unused,
    namespace: unused,
    caller: unused,
    parsed_arguments: unused
});
const outputItem = z.strictObject({
    type: z.literal("function_call_output"),
    call_id: callId,
    output: content,
    id: itemId,
    status: unused,
    caller: unused
});
const reasoningItem = z.strictObject({
    type: z.literal("reasoning"),
    id: itemId,
    summary: optional(z.array(textPart)),
    content: optional(z.array(textPart)),
    encrypted_content: optional(z.string()).openapi({ description: "Without effect: nobody here can read it" }),
    status: unused
});
const referenceItem = z.strictObject({
    type: z.literal("item_reference"),
    id: z.string().max(200).openapi({ description: "Id of an item in a stored response" })
});

/** Work of tools that only other servers have. */
const foreignItem = z
    .looseObject({
        type: z.enum([
            "additional_tools",
            "apply_patch_call",
            "apply_patch_call_output",
            "code_interpreter_call",
            "compaction",
            "compaction_summary",
            "compaction_trigger",
            "context_compaction",
            "computer_call",
            "computer_call_output",
            "custom_tool_call",
            "custom_tool_call_output",
            "file_search_call",
            "ghost_snapshot",
            "image_generation_call",
            "local_shell_call",
            "local_shell_call_output",
            "mcp_approval_request",
            "mcp_approval_response",
            "mcp_call",
            "mcp_list_tools",
            "program",
            "program_output",
            "shell_call",
            "shell_call_output",
            "tool_search_call",
            "tool_search_output",
            "web_search_call"
        ])
    })
    .openapi({ description: "Left out of the prompt; `armt.notes` of the answer says so" });

/** An item; messages may leave out their type, and errors name what is wrong in an item of its type. */
const inputItem = z.preprocess(
    (item) => (isPlainObject(item) && item.type == null ? { ...item, type: "message" } : item),
    z.discriminatedUnion("type", [messageItem, callItem, outputItem, reasoningItem, referenceItem, foreignItem])
);

const functionTool = z.strictObject({
    type: z.literal("function"),
    name: toolName,
    description: optional(text()),
    parameters: optional(anyObject),
    strict: optional(z.boolean()),
    defer_loading: unused,
    allowed_callers: unused,
    output_schema: unused
});
const foreignTool = z
    .looseObject({ type: z.string().min(1).max(64) })
    .refine(({ type }) => type !== "function")
    .openapi({ description: "Not offered to the model; `armt.notes` of the answer says so" });

const chosenTool = z.strictObject({ type: z.literal("function"), name: toolName });
const toolChoice = z.union([
    z.enum(["none", "auto", "required"]),
    chosenTool,
    z.strictObject({
        type: z.literal("allowed_tools"),
        mode: z.enum(["auto", "required"]),
        tools: z.array(chosenTool).min(1)
    })
]);

const format = z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("text") }),
    z.strictObject({ type: z.literal("json_object") }),
    z.strictObject({
        type: z.literal("json_schema"),
        name: optional(z.string().max(64)),
        description: optional(text()),
        schema: optional(z.union([z.boolean(), anyObject])),
        strict: optional(z.boolean())
    })
]);

const { model, temperature, top_p, top_k, min_p, seed, stream, user, armt } = samplingShape;

export const responseRequestSchema = z
    .strictObject({
        model,
        temperature,
        top_p,
        top_k,
        min_p,
        seed,
        stream,
        user,
        armt,
        input: z.union([text(), z.array(inputItem).min(1).max(maxMessages)]),
        instructions: optional(text()),
        max_output_tokens: optional(
            z
                .int()
                .min(1)
                .max(2 ** 31 - 1)
        ),
        previous_response_id: optional(z.string().max(100)),
        store: optional(z.boolean()),
        metadata: optional(metadataSchema),
        top_logprobs: optional(z.int().min(0).max(maxTopLogprobs)).openapi({
            description: 'With `include: ["message.output_text.logprobs"]`'
        }),
        text: optional(z.strictObject({ format: optional(format), verbosity: unused })),
        tools: optional(z.array(z.union([functionTool, foreignTool])).max(128)),
        tool_choice: optional(toolChoice),
        parallel_tool_calls: optional(z.boolean()),
        max_tool_calls: unused,
        include: optional(
            z.array(
                z.enum([
                    "message.output_text.logprobs",
                    "reasoning.encrypted_content",
                    "web_search_call.action.sources",
                    "web_search_call.results",
                    "file_search_call.results",
                    "code_interpreter_call.outputs",
                    "computer_call_output.output.image_url",
                    "message.input_image.image_url"
                ])
            )
        ).openapi({ description: "Log-probabilities; the others have no effect, because no answer has them" }),
        reasoning: optional(z.looseObject({})).openapi({ description: "Without effect" }),
        stream_options: optional(z.strictObject({ include_obfuscation: optional(z.boolean()) })).openapi({
            description: "Without effect"
        }),
        truncation: optional(z.enum(["disabled", "auto"])).openapi({ description: "Nothing is ever cut off" }),
        background: optional(z.literal(false)),
        ...serviceShape,
        client_metadata: unused,
        chat_template_kwargs: chatRequestSchema.shape.chat_template_kwargs
    })
    .openapi("ResponseRequest");

export type ResponseRequest = z.infer<typeof responseRequestSchema>;
export type ResponseInputItem = Exclude<ResponseRequest["input"], string>[number];

/** The description has no way to say that there is nothing. */
const none = z.unknown() as unknown as z.ZodType<never>;

const status = z.enum(["in_progress", "completed", "incomplete"]);
const tokenLogprob = z.object({ token: z.string(), logprob: z.number(), bytes: z.array(z.int()) });
const answeredMessage = z.object({
    type: z.literal("message"),
    id: z.string(),
    status,
    role: z.literal("assistant"),
    content: z.array(
        z.object({
            type: z.literal("output_text"),
            text: z.string(),
            annotations: z.array(none).max(0),
            logprobs: z.array(tokenLogprob.extend({ top_logprobs: z.array(tokenLogprob) }))
        })
    )
});
const answeredCall = z.object({
    type: z.literal("function_call"),
    id: z.string(),
    status,
    call_id: z.string(),
    name: z.string(),
    arguments: z.string()
});

export const responseSchema = z
    .object({
        id: z.string(),
        object: z.literal("response"),
        created_at: z.int(),
        status: z.enum(["in_progress", "completed", "incomplete", "failed"]),
        background: z.literal(false),
        error: z.null(),
        incomplete_details: z.object({ reason: z.literal("max_output_tokens") }).nullable(),
        instructions: z.string().nullable(),
        max_output_tokens: z.int().nullable(),
        model: z.string(),
        output: z.array(z.discriminatedUnion("type", [answeredMessage, answeredCall])),
        parallel_tool_calls: z.boolean(),
        previous_response_id: z.string().nullable(),
        reasoning: z.object({ effort: z.null(), summary: z.null() }),
        service_tier: z.literal("default"),
        store: z.boolean(),
        temperature: z.number(),
        text: z.object({ format: z.looseObject({ type: z.string() }) }),
        tool_choice: toolChoice,
        tools: z.array(
            z.object({
                type: z.literal("function"),
                name: z.string(),
                description: z.string().nullable(),
                parameters: z.record(z.string(), z.unknown()),
                strict: z.boolean()
            })
        ),
        top_logprobs: z.int(),
        top_p: z.number(),
        truncation: z.literal("disabled"),
        usage: z
            .object({
                input_tokens: z.int(),
                input_tokens_details: z.object({ cached_tokens: z.int() }),
                output_tokens: z.int(),
                output_tokens_details: z.object({ reasoning_tokens: z.int() }),
                total_tokens: z.int()
            })
            .nullable(),
        metadata: z.record(z.string(), z.string()),
        armt: z
            .object({
                notes: z.array(z.string()).openapi({ description: "What of the request was left out, and why" })
            })
            .optional()
    })
    .openapi("Response");

export type ResponseBody = z.infer<typeof responseSchema>;
export type ResponseItem = ResponseBody["output"][number];
