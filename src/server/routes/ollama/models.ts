import type { RequestHandler } from "express";
import { checkModel } from "../../answer.js";
import { readJsonBody } from "../../json-body.js";
import type { Server } from "../../Server.js";
import { ollamaShowRequestSchema } from "../../schemas/ollama.js";
import { validate } from "../../validate.js";

/** `GET /api/version` */
export function ollamaVersion(version: string): RequestHandler {
    return (_request, response) => {
        response.json({ version });
    };
}

/** `GET /api/tags`, and `GET /api/ps`: the model is always loaded. */
export function ollamaTags(server: Server): RequestHandler {
    return (_request, response) => {
        response.json({ models: [describe(server)] });
    };
}

/** `POST /api/show` */
export function ollamaShow(server: Server): RequestHandler {
    return async (request, response) => {
        const { model, name } = validate(ollamaShowRequestSchema, await readJsonBody(request, server));
        checkModel(server, model ?? name);
        const { engine } = server;
        const { metadata } = engine.model.fileInfo;
        response.json({
            modelfile: "",
            parameters: "",
            template: metadata.tokenizer?.chat_template ?? "",
            details: detailsOf(server),
            model_info: {
                "general.architecture": metadata.general.architecture,
                ...(engine.model.armt === undefined
                    ? { [`${metadata.general.architecture}.context_length`]: engine.context.contextSize }
                    : { "armt.segment_size": engine.context.armt?.segmentSize })
            },
            capabilities: engine.hasTokenizer ? ["completion", "tools"] : ["completion"],
            modified_at: modifiedAt(server)
        });
    };
}

function describe(server: Server) {
    const { modelId, model, fingerprint } = server.engine;
    return {
        name: modelId,
        model: modelId,
        modified_at: modifiedAt(server),
        size: model.size,
        digest: fingerprint,
        details: detailsOf(server)
    };
}

function detailsOf({ engine }: Server) {
    const { architecture } = engine.model.fileInfo.metadata.general;
    return {
        parent_model: "",
        format: "gguf",
        family: architecture,
        families: [architecture],
        parameter_size: "",
        quantization_level: engine.model.typeDescription
    };
}

function modifiedAt({ engine }: Server): string {
    return new Date(engine.created * 1000).toISOString();
}
