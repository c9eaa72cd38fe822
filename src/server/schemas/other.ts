import { tokenIdSchema } from "./completions.js";
import { samplingShape } from "./sampling.js";
import { optional, text, tokenIds, z } from "./zod.js";

const modelParameter = samplingShape.model;

/** Routes without another parameter. */
export const modelQuerySchema = z.strictObject({ model: modelParameter });

export const tokenizeRequestSchema = z
    .strictObject({
        content: text(),
        add_special: optional(z.boolean()).openapi({
            description: "Put the begin token in front, where the model has one"
        }),
        parse_special: optional(z.boolean()).openapi({
            description: "Names of special tokens mean those; default true"
        }),
        with_pieces: optional(z.boolean()).openapi({ description: "Return each token with its text" }),
        model: modelParameter
    })
    .openapi("TokenizeRequest");

export const tokenizeResponseSchema = z
    .object({
        tokens: z.array(
            z.union([tokenIdSchema, z.object({ id: tokenIdSchema, piece: z.union([z.string(), z.array(z.int())]) })])
        )
    })
    .openapi("TokenizeResponse");

export const detokenizeRequestSchema = z
    .strictObject({ tokens: tokenIds({ min: 0 }), model: modelParameter })
    .openapi("DetokenizeRequest");

export const detokenizeResponseSchema = z.object({ content: z.string() }).openapi("DetokenizeResponse");

export const embeddingRequestSchema = z.looseObject({ model: samplingShape.model }).openapi("EmbeddingRequest");

export const modelSchema = z
    .object({
        id: z.string(),
        object: z.literal("model"),
        created: z.int(),
        owned_by: z.string(),
        description: z.string().optional().openapi({ description: "What the model can do" }),
        status: z.object({ value: z.enum(["unloaded", "loading", "loaded"]) }),
        defaults: z
            .record(z.string(), z.unknown())
            .openapi({ description: "Parameters of a chat that a request leaves out" }),
        armt: z.record(z.string(), z.unknown()).optional()
    })
    .openapi("Model");

export const modelListSchema = z.object({ object: z.literal("list"), data: z.array(modelSchema) }).openapi("ModelList");

export const memorySchema = z
    .object({
        id: z.string(),
        object: z.literal("armt.memory"),
        name: z.string().nullable(),
        model: z.string().openapi({ description: "Name of the model that read it" }),
        created_at: z.int(),
        status: z.enum(["complete", "partial"]),
        tokens: z.int().openapi({ description: "Tokens read" }),
        characters: z.int().openapi({ description: "Text taken in, in UTF-16 code units" }),
        segments: z.int().openapi({ description: "Segments closed" }),
        bytes: z.int().openapi({ description: "Size of the snapshot" })
    })
    .openapi("Memory");

export const memoryListSchema = z
    .object({ object: z.literal("list"), data: z.array(memorySchema) })
    .openapi("MemoryList");

export const deletedSchema = z
    .object({ id: z.string(), object: z.string(), deleted: z.literal(true) })
    .openapi("Deleted");

/** Of the name of a memory. Unit: UTF-16 code units. */
export const maxNameLength = 200;

export const memoryQuerySchema = z.strictObject({
    model: modelParameter,
    name: optional(text().pipe(z.string().max(maxNameLength))),
    from: optional(z.string().max(100)).openapi({ description: "Id of a memory to continue" }),
    stream: optional(z.enum(["true", "false"])).openapi({ description: "Send progress as server-sent events" }),
    watch: optional(z.string().regex(/^[\w-]{1,64}$/)).openapi({
        description: "Name under which GET /v1/armt/progress/{name} tells how far this is"
    })
});

export const memoryFileQuerySchema = z.strictObject({
    model: modelParameter,
    name: optional(text().pipe(z.string().max(maxNameLength))).openapi({ description: "Default: the name of its text" })
});

export const errorSchema = z
    .object({
        error: z.object({
            message: z.string(),
            type: z.string(),
            param: z.string().nullable(),
            code: z.string().nullable()
        })
    })
    .openapi("Error");

export const healthSchema = z
    .object({
        status: z.enum(["ok", "draining"]),
        models: z.object({ total: z.int(), loaded: z.int(), loading: z.int() })
    })
    .openapi("Health");

export const successSchema = z.object({ success: z.literal(true) }).openapi("Success");
