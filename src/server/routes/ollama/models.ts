import { createHash } from "node:crypto";
import type { RequestHandler } from "express";
import { readJsonBody } from "../../json-body.js";
import type { ModelFacts } from "../../models/ModelFacts.js";
import { modelOf } from "../../models/with-model.js";
import type { Server } from "../../Server.js";
import { ollamaShowRequestSchema } from "../../schemas/ollama.js";
import { validate } from "../../validate.js";

/** The version of Ollama whose API this is. Clients ask for a minimum. */
const apiVersion = "0.14.2";

/** Ollama's clients expect a time here. It is far away, since a model leaves only to make room. */
const never = "2318-01-01T00:00:00Z";

/** `GET /api/version` */
export const ollamaVersion: RequestHandler = (_request, response) => {
    response.json({ version: apiVersion });
};

/** `GET /api/tags` */
export function ollamaTags({ facts }: Server): RequestHandler {
    return (_request, response) => {
        response.json({ models: [...facts.values()].map(describe) });
    };
}

/** `GET /api/ps`: the models that are loaded. */
export function ollamaPs({ models, facts }: Server): RequestHandler {
    return (_request, response) => {
        const running = models.ids.flatMap((id) => {
            const { context } = models.peek(id)?.engine ?? {};
            if (context === undefined) return [];
            const { modified_at: _, ...described } = describe(facts.get(id)!);
            const onGpu = context.model.llama.gpu === false ? 0 : context.model.size;
            return [{ ...described, expires_at: never, size_vram: onGpu, context_length: context.contextSize }];
        });
        response.json({ models: running });
    };
}

/** `POST /api/show` */
export function ollamaShow(server: Server): RequestHandler {
    return async (request, response) => {
        const { model, name } = validate(ollamaShowRequestSchema, await readJsonBody(request, server));
        const id = modelOf(server, { model: model ?? name });
        const facts = server.facts.get(id)!;
        const { architecture, chatTemplate, hasTokenizer, armt } = facts;
        const context = server.models.peek(id)?.engine.context;
        response.json({
            modelfile: "",
            parameters: "",
            template: chatTemplate ?? "",
            details: detailsOf(facts),
            model_info: {
                "general.architecture": architecture,
                ...(armt === undefined
                    ? { [`${architecture}.context_length`]: context?.contextSize ?? facts.contextLength }
                    : { "armt.segment_size": context?.armt?.segmentSize ?? armt.segmentSize })
            },
            capabilities: hasTokenizer ? ["completion", "tools"] : ["completion"],
            modified_at: modifiedAt(facts)
        });
    };
}

function describe(facts: ModelFacts) {
    const { id, bytes, created } = facts;
    return {
        name: id,
        model: id,
        modified_at: modifiedAt(facts),
        size: bytes,
        // clients compare digests to see whether a model has changed
        digest: createHash("sha256").update(`${id} ${bytes} ${created}`).digest("hex"),
        details: detailsOf(facts)
    };
}

function detailsOf({ architecture, quantization }: ModelFacts) {
    return {
        parent_model: "",
        format: "gguf",
        family: architecture,
        families: [architecture],
        parameter_size: "",
        quantization_level: quantization
    };
}

function modifiedAt({ created }: ModelFacts): string {
    return new Date(created * 1000).toISOString();
}
