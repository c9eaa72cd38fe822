import cors from "cors";
import express, { type Express } from "express";
import helmet from "helmet";
import { pinoHttp } from "pino-http";
import { errorHandler, notFound } from "./errors.js";
import { describeApi } from "./openapi.js";
import { beginRequest } from "./request-signal.js";
import { chatCompletions } from "./routes/chat-completions.js";
import { completions } from "./routes/completions.js";
import { embeddings } from "./routes/embeddings.js";
import { health } from "./routes/health.js";
import { applyTemplate } from "./routes/llama-server/apply-template.js";
import { infill, llamaCompletion } from "./routes/llama-server/completion.js";
import { changeProps, props } from "./routes/llama-server/props.js";
import { changeSlot } from "./routes/llama-server/slot-files.js";
import { slots } from "./routes/llama-server/slots.js";
import { createMemory, deleteMemory, getMemory, listMemories } from "./routes/memories.js";
import { loadMemory, saveMemory } from "./routes/memory-files.js";
import { errorBody as messageError } from "./routes/messages/error-body.js";
import { countTokens, createMessage } from "./routes/messages/route.js";
import { metrics } from "./routes/metrics.js";
import { getModel, getSample, listModels, loadModel, unloadModel } from "./routes/models.js";
import { errorBody as ollamaError } from "./routes/ollama/error-body.js";
import { ollamaPs, ollamaShow, ollamaTags, ollamaVersion } from "./routes/ollama/models.js";
import { ollamaChat, ollamaEmbed, ollamaGenerate } from "./routes/ollama/route.js";
import { page } from "./routes/page.js";
import { cancelUpload, watchProgress } from "./routes/progress.js";
import { createResponse, deleteResponse, getResponse } from "./routes/responses/route.js";
import { detokenize, tokenize } from "./routes/tokenize.js";
import type { Server } from "./Server.js";
import { checkApiKey, checkOrigin } from "./security.js";

/** The server as an express app; it listens nowhere. */
export function createApp(server: Server, version: string): Express {
    const { log, metrics: counters, apiKeys, corsOrigins, loopback, limits } = server;
    const app = express();
    app.disable("x-powered-by");
    app.disable("etag");
    app.set("query parser", "simple");
    // neither bodies nor query strings are logged, so no prompt is
    app.use(
        pinoHttp({
            logger: log,
            serializers: {
                req: ({ method, raw }) => ({ method, path: raw.url?.split("?", 1)[0] }),
                res: ({ statusCode }) => ({ statusCode })
            }
        })
    );
    app.use((request, response, next) => {
        beginRequest(request, response, limits);
        response.on("close", () => {
            const route: string | undefined = request.route?.path;
            counters.countRequest(route ?? "other", response.statusCode);
        });
        next();
    });
    app.use(
        helmet({
            contentSecurityPolicy: {
                useDefaults: false,
                directives: {
                    defaultSrc: ["'self'"],
                    baseUri: ["'none'"],
                    formAction: ["'none'"],
                    frameAncestors: ["'none'"],
                    objectSrc: ["'none'"]
                }
            },
            // plain HTTP on a private address is the usual case
            strictTransportSecurity: false
        })
    );
    if (corsOrigins.length > 0) {
        const origin = corsOrigins.includes("*") ? "*" : [...corsOrigins];
        app.use(cors({ origin, exposedHeaders: ["Retry-After", "Content-Disposition"], maxAge: 600 }));
    }
    app.use(checkOrigin(loopback, corsOrigins));
    app.get(["/health", "/v1/health"], health(server));
    app.use(page());
    if (apiKeys.length > 0) app.use(checkApiKey(apiKeys));

    // llama-server has these with and without the version
    app.get(["/v1/models", "/models"], listModels(server));
    app.get("/v1/models/*id", getModel(server));
    app.post("/models/load", loadModel(server));
    app.post("/models/unload", unloadModel(server));
    app.post(["/v1/chat/completions", "/chat/completions"], chatCompletions(server));
    app.post("/v1/completions", completions(server));
    app.post(["/v1/responses", "/responses"], createResponse(server));
    app.get("/v1/responses/:id", getResponse(server));
    app.delete("/v1/responses/:id", deleteResponse(server));
    app.post("/v1/messages", createMessage(server));
    app.post("/v1/messages/count_tokens", countTokens(server));
    app.get("/api/version", ollamaVersion);
    app.get("/api/tags", ollamaTags(server));
    app.get("/api/ps", ollamaPs(server));
    app.post("/api/show", ollamaShow(server));
    app.post("/api/chat", ollamaChat(server));
    app.post("/api/generate", ollamaGenerate(server));
    app.post(["/api/embed", "/api/embeddings"], ollamaEmbed(server));
    app.post(["/v1/embeddings", "/embeddings", "/embedding"], embeddings(server));
    app.post("/v1/armt/memories", createMemory(server));
    app.get("/v1/armt/memories", listMemories(server));
    app.get("/v1/armt/memories/:id", getMemory(server));
    app.delete("/v1/armt/memories/:id", deleteMemory(server));
    app.get("/v1/armt/memories/:id/file", saveMemory(server));
    app.post("/v1/armt/memories/file", loadMemory(server));
    app.get("/v1/armt/progress/:name", watchProgress(server));
    app.delete("/v1/armt/progress/:name", cancelUpload(server));
    app.get("/v1/armt/sample", getSample(server));
    app.post(["/completion", "/completions"], llamaCompletion(server));
    app.post("/apply-template", applyTemplate(server));
    app.get("/props", props(server, version));
    app.post("/props", changeProps);
    app.get("/slots", slots(server));
    app.post("/slots/:id", changeSlot(server));
    app.post("/infill", infill(server));
    app.post("/tokenize", tokenize(server));
    app.post("/detokenize", detokenize(server));
    app.get("/metrics", metrics(server));
    const description = describeApi(version, apiKeys.length > 0);
    app.get("/openapi.json", (_request, response) => {
        response.json(description);
    });
    app.use(notFound);
    app.use(errorHandler(log, { "/v1/messages": messageError, "/api/": ollamaError }));
    return app;
}
