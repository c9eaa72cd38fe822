import { OpenAPIRegistry, OpenApiGeneratorV31 } from "@asteasolutions/zod-to-openapi";
import { chatChunkSchema, chatRequestSchema, chatResponseSchema } from "./schemas/chat.js";
import { completionRequestSchema, completionResponseSchema } from "./schemas/completions.js";
import {
    applyTemplateRequestSchema,
    applyTemplateResponseSchema,
    infillRequestSchema,
    llamaCompletionRequestSchema,
    llamaCompletionResponseSchema,
    propsSchema,
    slotActionQuerySchema,
    slotActionSchema,
    slotFileSchema,
    slotsQuerySchema,
    slotsSchema
} from "./schemas/llama-server.js";
import {
    countTokensRequestSchema,
    countTokensResponseSchema,
    messageRequestSchema,
    messageResponseSchema
} from "./schemas/messages.js";
import {
    ollamaChatRequestSchema,
    ollamaChatResponseSchema,
    ollamaEmbedRequestSchema,
    ollamaErrorSchema,
    ollamaGenerateRequestSchema,
    ollamaGenerateResponseSchema,
    ollamaShowRequestSchema
} from "./schemas/ollama.js";
import {
    deletedSchema,
    detokenizeRequestSchema,
    detokenizeResponseSchema,
    embeddingRequestSchema,
    errorSchema,
    healthSchema,
    memoryFileQuerySchema,
    memoryListSchema,
    memoryQuerySchema,
    memorySchema,
    modelListSchema,
    modelQuerySchema,
    modelSchema,
    successSchema,
    tokenizeRequestSchema,
    tokenizeResponseSchema
} from "./schemas/other.js";
import { responseRequestSchema, responseSchema } from "./schemas/responses.js";
import { z } from "./schemas/zod.js";

type Route = {
    method: "get" | "post" | "delete";
    path: string;
    summary: string;
    body?: z.ZodType;
    text?: boolean;
    /** Whether the body is a file of bytes. */
    file?: boolean;
    /** Whether the answer is one. */
    answersFile?: boolean;
    answersText?: boolean;
    query?: z.ZodObject;
    answer?: z.ZodType;
    events?: z.ZodType;
    status?: number;
};

/** Every route with the schemas that check it. */
const routes: readonly Route[] = [
    { method: "get", path: "/v1/models", summary: "List the models", answer: modelListSchema },
    { method: "get", path: "/v1/models/{id}", summary: "Describe a model", answer: modelSchema },
    {
        method: "post",
        path: "/models/load",
        summary: "Load a model, as a request for it would",
        body: modelQuerySchema,
        answer: successSchema
    },
    {
        method: "post",
        path: "/models/unload",
        summary: "Unload a model that no request uses",
        body: modelQuerySchema,
        answer: successSchema
    },
    {
        method: "post",
        path: "/v1/chat/completions",
        summary: "Answer a chat",
        body: chatRequestSchema,
        answer: chatResponseSchema,
        events: chatChunkSchema
    },
    {
        method: "post",
        path: "/v1/completions",
        summary: "Continue a text",
        body: completionRequestSchema,
        answer: completionResponseSchema,
        events: completionResponseSchema
    },
    {
        method: "post",
        path: "/v1/responses",
        summary: "Answer, and remember the conversation",
        body: responseRequestSchema,
        answer: responseSchema
    },
    { method: "get", path: "/v1/responses/{id}", summary: "Get a stored response", answer: responseSchema },
    { method: "delete", path: "/v1/responses/{id}", summary: "Delete a stored response", answer: deletedSchema },
    {
        method: "post",
        path: "/v1/messages",
        summary: "Answer a chat, in Anthropic's form",
        body: messageRequestSchema,
        answer: messageResponseSchema
    },
    {
        method: "post",
        path: "/v1/messages/count_tokens",
        summary: "Count the tokens of a chat, in Anthropic's form",
        body: countTokensRequestSchema,
        answer: countTokensResponseSchema
    },
    {
        method: "post",
        path: "/api/chat",
        summary: "Answer a chat, in Ollama's form",
        body: ollamaChatRequestSchema,
        answer: ollamaChatResponseSchema
    },
    {
        method: "post",
        path: "/api/generate",
        summary: "Answer a prompt, in Ollama's form",
        body: ollamaGenerateRequestSchema,
        answer: ollamaGenerateResponseSchema
    },
    {
        method: "post",
        path: "/api/embed",
        summary: "Not supported: 501",
        body: ollamaEmbedRequestSchema,
        answer: ollamaErrorSchema,
        status: 501
    },
    {
        method: "post",
        path: "/api/show",
        summary: "Describe a model, in Ollama's form",
        body: ollamaShowRequestSchema
    },
    { method: "get", path: "/api/tags", summary: "List the models, in Ollama's form" },
    { method: "get", path: "/api/ps", summary: "List the loaded models, in Ollama's form" },
    { method: "get", path: "/api/version", summary: "The server's version" },
    {
        method: "post",
        path: "/v1/embeddings",
        summary: "Not supported: 501",
        body: embeddingRequestSchema,
        answer: errorSchema,
        status: 501
    },
    {
        method: "post",
        path: "/v1/armt/memories",
        summary: "Read a document of any length into a memory",
        text: true,
        query: memoryQuerySchema,
        answer: memorySchema,
        status: 201
    },
    { method: "get", path: "/v1/armt/memories", summary: "List the memories", answer: memoryListSchema },
    { method: "get", path: "/v1/armt/memories/{id}", summary: "Describe a memory", answer: memorySchema },
    { method: "delete", path: "/v1/armt/memories/{id}", summary: "Delete a memory", answer: deletedSchema },
    {
        method: "get",
        path: "/v1/armt/memories/{id}/file",
        summary: "Save a memory to a file",
        answersFile: true
    },
    {
        method: "post",
        path: "/v1/armt/memories/file",
        summary: "Load a memory from a file",
        file: true,
        query: memoryFileQuerySchema,
        answer: memorySchema,
        status: 201
    },
    { method: "get", path: "/v1/armt/progress/{name}", summary: "Watch an upload, as server-sent events" },
    { method: "delete", path: "/v1/armt/progress/{name}", summary: "Cancel an upload", answer: deletedSchema },
    {
        method: "get",
        path: "/v1/armt/sample",
        summary: "A text to try a model with",
        query: modelQuerySchema,
        answersText: true
    },
    {
        method: "post",
        path: "/completion",
        summary: "Continue a text, in llama-server's form; also at /completions",
        body: llamaCompletionRequestSchema,
        answer: llamaCompletionResponseSchema,
        events: llamaCompletionResponseSchema
    },
    {
        method: "post",
        path: "/apply-template",
        summary: "A chat as the prompt that the model reads",
        body: applyTemplateRequestSchema,
        answer: applyTemplateResponseSchema
    },
    {
        method: "get",
        path: "/props",
        summary: "The model and its defaults, in llama-server's form",
        query: modelQuerySchema,
        answer: propsSchema
    },
    {
        method: "get",
        path: "/slots",
        summary: "The sequences, in llama-server's form",
        query: slotsQuerySchema,
        answer: slotsSchema
    },
    {
        method: "post",
        path: "/slots/{id}",
        summary: "Save, restore or erase what a sequence has read, in llama-server's form",
        query: slotActionQuerySchema,
        body: slotFileSchema,
        answer: slotActionSchema
    },
    {
        method: "post",
        path: "/infill",
        summary: "Complete between a prefix and a suffix, in llama-server's form",
        body: infillRequestSchema,
        answer: llamaCompletionResponseSchema,
        events: llamaCompletionResponseSchema
    },
    { method: "post", path: "/props", summary: "Not supported: 501", answer: errorSchema, status: 501 },
    {
        method: "post",
        path: "/tokenize",
        summary: "Text to token ids",
        body: tokenizeRequestSchema,
        answer: tokenizeResponseSchema
    },
    {
        method: "post",
        path: "/detokenize",
        summary: "Token ids to text",
        body: detokenizeRequestSchema,
        answer: detokenizeResponseSchema
    },
    { method: "get", path: "/health", summary: "Whether the server takes on requests", answer: healthSchema },
    { method: "get", path: "/metrics", summary: "Counters, for Prometheus" },
    { method: "get", path: "/openapi.json", summary: "This description" }
];

/** The server's description, from the schemas that check its requests. */
export function describeApi(version: string, asksForKey: boolean) {
    const registry = new OpenAPIRegistry();
    if (asksForKey) registry.registerComponent("securitySchemes", "apiKey", { type: "http", scheme: "bearer" });
    const bytes = z.string().openapi({ format: "binary" });
    const form = { "multipart/form-data": { schema: z.object({ file: bytes }) } };
    for (const route of routes) {
        const { method, path, summary, body, text, file, query, answer, events, status = 200 } = route;
        const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
        registry.registerPath({
            method,
            path,
            summary,
            request: {
                ...(names.length > 0
                    ? { params: z.object(Object.fromEntries(names.map((name) => [name, z.string()]))) }
                    : {}),
                ...(query && { query }),
                ...(body && { body: { required: true, content: { "application/json": { schema: body } } } }),
                ...(file && {
                    body: { required: true, content: { "application/octet-stream": { schema: bytes }, ...form } }
                }),
                ...(text && { body: { required: true, content: { "text/plain": { schema: z.string() }, ...form } } })
            },
            responses: {
                [status]: {
                    description: summary,
                    content: {
                        ...(answer && { "application/json": { schema: answer } }),
                        ...(route.answersFile && { "application/octet-stream": { schema: bytes } }),
                        ...(route.answersText && { "text/plain": { schema: z.string() } }),
                        ...(events && { "text/event-stream": { schema: events } })
                    }
                },
                default: {
                    description: "What went wrong",
                    content: { "application/json": { schema: errorSchema } }
                }
            }
        });
    }
    return new OpenApiGeneratorV31(registry.definitions).generateDocument({
        openapi: "3.1.0",
        info: { title: "node-llama-cpp-armt", version },
        ...(asksForKey ? { security: [{ apiKey: [] }] } : {})
    });
}
