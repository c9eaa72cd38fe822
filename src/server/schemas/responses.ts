import { maxMessages, maxTopLogprobs, samplingShape } from "./sampling.js";
import { optional, record, text, z } from "./zod.js";

const inputPart = z.strictObject({ type: z.literal("input_text"), text: text() });
const outputPart = z.object({ type: z.literal("output_text"), text: text() });

const inputMessage = z.union([
    z.strictObject({
        type: z.literal("message").optional(),
        role: z.enum(["system", "developer", "user"]),
        content: z.union([text(), z.array(inputPart).min(1)])
    }),
    z.object({
        type: z.literal("message").optional(),
        role: z.literal("assistant"),
        content: z.union([text(), z.array(outputPart).min(1)])
    })
]);

const { model, temperature, top_p, stream, user, armt } = samplingShape;

/** Bounds of OpenAI's API. */
const maxMetadata = { pairs: 16, name: 64, value: 512 };

const metadata = record<string>(
    (name, value) => {
        if (name.length > maxMetadata.name) return `the name has more than ${maxMetadata.name} characters`;
        if (typeof value === "string" && value.length <= maxMetadata.value) return undefined;
        return `expected a string of at most ${maxMetadata.value} characters`;
    },
    { type: "string", maxLength: maxMetadata.value }
).refine((value) => Object.keys(value ?? {}).length <= maxMetadata.pairs, {
    error: `has more than ${maxMetadata.pairs} pairs`
});

export const responseRequestSchema = z
    .strictObject({
        model,
        temperature,
        top_p,
        stream,
        user,
        armt,
        input: z.union([text(), z.array(inputMessage).min(1).max(maxMessages)]),
        instructions: optional(text()),
        max_output_tokens: optional(
            z
                .int()
                .min(1)
                .max(2 ** 31 - 1)
        ),
        previous_response_id: optional(z.string().max(100)),
        store: optional(z.boolean()),
        metadata: optional(metadata),
        top_logprobs: optional(z.literal(0)).openapi({ description: `Up to ${maxTopLogprobs} in chats; none here` }),
        text: optional(z.strictObject({ format: optional(z.strictObject({ type: z.literal("text") })) })),
        truncation: optional(z.literal("disabled")).openapi({ description: "Nothing is ever cut off" }),
        parallel_tool_calls: optional(z.boolean()),
        background: optional(z.literal(false)),
        service_tier: optional(z.enum(["auto", "default"]))
    })
    .openapi("ResponseRequest");

export type ResponseRequest = z.infer<typeof responseRequestSchema>;

/** The description has no way to say that there is nothing. */
const none = z.unknown() as unknown as z.ZodType<never>;

export const responseSchema = z
    .object({
        id: z.string(),
        object: z.literal("response"),
        created_at: z.int(),
        status: z.enum(["in_progress", "completed", "incomplete", "failed"]),
        error: z.null(),
        incomplete_details: z.object({ reason: z.literal("max_output_tokens") }).nullable(),
        instructions: z.string().nullable(),
        max_output_tokens: z.int().nullable(),
        model: z.string(),
        output: z.array(
            z.object({
                type: z.literal("message"),
                id: z.string(),
                status: z.enum(["in_progress", "completed", "incomplete"]),
                role: z.literal("assistant"),
                content: z.array(
                    z.object({
                        type: z.literal("output_text"),
                        text: z.string(),
                        annotations: z.array(none).max(0)
                    })
                )
            })
        ),
        parallel_tool_calls: z.boolean(),
        previous_response_id: z.string().nullable(),
        store: z.boolean(),
        temperature: z.number(),
        text: z.object({ format: z.object({ type: z.literal("text") }) }),
        tool_choice: z.literal("auto"),
        tools: z.array(none).max(0),
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
        metadata: z.record(z.string(), z.string())
    })
    .openapi("Response");

export type ResponseBody = z.infer<typeof responseSchema>;
