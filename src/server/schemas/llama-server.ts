import { chatRequestSchema } from "./chat.js";
import { llamaServerShape, maxTopLogprobs, promptProgressSchema, samplingShape, timingsSchema } from "./sampling.js";
import { anyObject, isPlainObject, optional, record, text, z } from "./zod.js";

/** Prompts in one request. */
const maxPrompts = 128;
const maxTokenId = 2 ** 31 - 1;
const maxBiases = 1024;

/** A prompt in a form that llama-server takes: a text, token ids, or both in a list. */
export type PromptParts = readonly (string | number)[];

const promptText = z.strictObject({ prompt_string: text(), multimodal_data: optional(z.array(z.never())) });

/** Only the first wrong part is reported; there may be a million. */
const promptSchema = z
    .unknown()
    .superRefine((value, context) => {
        const prompts = isList(value) ? value : [value];
        if (prompts.length === 0) return context.addIssue({ code: "custom", message: "has no prompt" });
        if (prompts.length > maxPrompts)
            return context.addIssue({ code: "custom", message: `has more than ${maxPrompts} prompts` });
        for (const [i, prompt] of prompts.entries()) {
            const problem = problemOf(prompt);
            if (problem !== undefined)
                return context.addIssue({
                    code: "custom",
                    path: [...(isList(value) ? [i] : []), ...problem.path],
                    message: problem.message
                });
        }
    })
    .transform((value): { prompts: PromptParts[]; isList: boolean } => {
        const prompts = isList(value) ? value : [value];
        return { prompts: prompts.map(partsOf), isList: isList(value) };
    })
    .openapi({
        description: "Text, token ids, a list of both, {prompt_string}, or a list of prompts in these forms",
        anyOf: [{ type: "string" }, { type: "array" }, { type: "object" }]
    });

/** A list with a number in it is one prompt. */
function isList(value: unknown): value is unknown[] {
    return Array.isArray(value) && !value.some((part) => typeof part === "number");
}

function problemOf(prompt: unknown): { path: PropertyKey[]; message: string } | undefined {
    if (isPlainObject(prompt)) {
        const [issue] = promptText.safeParse(prompt).error?.issues ?? [];
        return issue && { path: issue.path, message: issue.message };
    }
    const parts = Array.isArray(prompt) ? (prompt as unknown[]) : [prompt];
    if (parts.length === 0) return { path: [], message: "the prompt is empty" };
    for (const [i, part] of parts.entries()) {
        const path = Array.isArray(prompt) ? [i] : [];
        if (typeof part === "string") {
            const [issue] = text().safeParse(part).error?.issues ?? [];
            if (issue !== undefined) return { path, message: issue.message };
        } else if (!(Number.isInteger(part) && (part as number) >= 0 && (part as number) <= maxTokenId))
            return { path, message: `expected a text or an integer from 0 to ${maxTokenId}` };
    }
    return undefined;
}

function partsOf(prompt: unknown): PromptParts {
    if (isPlainObject(prompt)) return [String(prompt.prompt_string)];
    return (Array.isArray(prompt) ? prompt : [prompt]) as PromptParts;
}

const bias = z.union([z.number().min(-100).max(100), z.literal(false)]);
const biases = z.union([
    z.array(z.tuple([z.union([z.int().min(0).max(maxTokenId), text().min(1).max(100)]), bias])).max(maxBiases),
    record<number | false>((_name, value) => bias.safeParse(value).error && "expected a number or false").refine(
        (value) => Object.keys(value).length <= maxBiases,
        { error: `has more than ${maxBiases} tokens` }
    )
]);

export const llamaCompletionRequestSchema = z
    .strictObject({
        model: samplingShape.model,
        temperature: optional(z.number().max(2)).openapi({ description: "0 or less takes the most probable token" }),
        top_p: optional(z.number().gt(0).max(1)),
        top_k: optional(z.int().max(maxTokenId)).openapi({ description: "0 or less: all tokens" }),
        min_p: samplingShape.min_p,
        seed: samplingShape.seed,
        stop: samplingShape.stop,
        presence_penalty: samplingShape.presence_penalty,
        frequency_penalty: samplingShape.frequency_penalty,
        stream: samplingShape.stream,
        return_progress: samplingShape.return_progress,
        armt: samplingShape.armt,
        ...llamaServerShape,
        prompt: promptSchema,
        max_tokens: llamaServerShape.n_predict,
        n_cmpl: samplingShape.n,
        n: samplingShape.n,
        n_probs: optional(z.int().min(0).max(maxTopLogprobs)),
        logit_bias: optional(biases),
        ignore_eos: optional(z.boolean()),
        json_schema: z
            .union([z.boolean(), anyObject])
            .nullish()
            .transform((value) => value ?? undefined),
        return_tokens: optional(z.boolean()),
        response_fields: optional(z.array(z.string().max(100)).max(100))
    })
    .openapi("LlamaCompletionRequest");

export type LlamaCompletionRequest = z.infer<typeof llamaCompletionRequestSchema>;

const probability = z.object({ id: z.int(), token: z.string(), bytes: z.array(z.int()), logprob: z.number() });

export const llamaCompletionResponseSchema = z
    .object({
        index: z.int(),
        content: z.string(),
        tokens: z.array(z.int()),
        id_slot: z.int(),
        stop: z.boolean(),
        model: z.string(),
        tokens_predicted: z.int(),
        tokens_evaluated: z.int().openapi({ description: "Tokens of the prompt" }),
        generation_settings: z.record(z.string(), z.unknown()),
        prompt: z.string(),
        has_new_line: z.boolean(),
        truncated: z.literal(false),
        stop_type: z.enum(["eos", "limit", "word"]),
        stopping_word: z.string(),
        tokens_cached: z.int().openapi({ description: "Tokens of the prompt that were not read again" }),
        timings: timingsSchema,
        completion_probabilities: z.array(probability.extend({ top_logprobs: z.array(probability) })).optional(),
        prompt_progress: promptProgressSchema.optional()
    })
    .openapi("LlamaCompletion");

export const applyTemplateRequestSchema = z
    .strictObject({
        ...chatRequestSchema.shape,
        add_generation_prompt: optional(z.literal(true))
    })
    .openapi("ApplyTemplateRequest");

export const applyTemplateResponseSchema = z.object({ prompt: z.string() }).openapi("AppliedTemplate");

export const slotSchema = z
    .object({
        id: z.int(),
        n_ctx: z.int(),
        speculative: z.literal(false),
        is_processing: z.boolean(),
        n_prompt_tokens: z.int().openapi({ description: "Tokens that the sequence holds" }),
        armt: z.object({ segments: z.int(), cells: z.int() }).optional()
    })
    .openapi("Slot");

export const slotsSchema = z.array(slotSchema);
export const slotsQuerySchema = z.strictObject({
    model: optional(z.string()),
    fail_on_no_slot: optional(z.string()).openapi({ description: "503 if all sequences are in use" })
});

export const propsSchema = z
    .object({
        default_generation_settings: z.object({ n_ctx: z.int(), params: z.record(z.string(), z.unknown()) }),
        total_slots: z.int(),
        model_alias: z.string(),
        model_path: z.string(),
        modalities: z.object({ vision: z.literal(false), audio: z.literal(false) }),
        chat_template: z.string(),
        chat_template_caps: z.record(z.string(), z.boolean()),
        bos_token: z.string(),
        eos_token: z.string(),
        build_info: z.string(),
        is_sleeping: z.literal(false)
    })
    .openapi("Props");

export const slotActionQuerySchema = z.strictObject({
    model: samplingShape.model,
    action: z.enum(["save", "restore", "erase"])
});

/** Names that stay in the folder, on every system. */
const fileName = z
    .string()
    .max(200)
    .regex(/^[\w-][\w .-]*$/, {
        error: "expected the name of a file in the server's folder: letters, digits, `.`, `_`, `-`"
    })
    .refine((name) => !/[ .]$/.test(name) && !/^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i.test(name), {
        error: "some systems take no such name"
    });

export const slotEraseSchema = z.strictObject({ model: samplingShape.model, filename: optional(z.string()) });
export const slotFileSchema = z.strictObject({ model: samplingShape.model, filename: fileName }).openapi("SlotFile");

export const slotActionSchema = z
    .object({
        id_slot: z.int(),
        filename: z.string().optional(),
        n_saved: z.int().optional(),
        n_written: z.int().optional(),
        n_restored: z.int().optional(),
        n_read: z.int().optional(),
        n_erased: z.int().optional(),
        timings: z.object({ save_ms: z.number().optional(), restore_ms: z.number().optional() }).optional()
    })
    .openapi("SlotAction");

const { prompt: _prompt, ...completionShape } = llamaCompletionRequestSchema.shape;

export const infillRequestSchema = z
    .strictObject({
        ...completionShape,
        input_prefix: text().default("").openapi({ description: "Code before the cursor" }),
        input_suffix: text().default("").openapi({ description: "Code after the cursor" }),
        input_extra: optional(z.array(z.strictObject({ filename: optional(text()), text: text() })).max(1000)).openapi({
            description: "Other files of the repository"
        }),
        prompt: optional(text()).openapi({ description: "What the completion begins with" })
    })
    .openapi("InfillRequest");

export type InfillRequest = z.infer<typeof infillRequestSchema>;
