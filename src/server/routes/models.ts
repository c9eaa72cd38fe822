import type { RequestHandler } from "express";
import { checkModel, samplingOf } from "../answer.js";
import { ApiError } from "../errors.js";
import type { Server } from "../Server.js";

/** `GET /v1/models` */
export function listModels(server: Server): RequestHandler {
    return (_request, response) => {
        response.json({ object: "list", data: [describe(server)] });
    };
}

/** `GET /v1/models/{id}` */
export function getModel(server: Server): RequestHandler {
    return (request, response) => {
        checkModel(server, String(request.params.id));
        response.json(describe(server));
    };
}

function describe(server: Server) {
    const { engine, description, sample, limits } = server;
    const { temperature, topP, topK, minP } = samplingOf(server, {});
    const { armt } = engine.context;
    return {
        id: engine.modelId,
        object: "model",
        created: engine.created,
        owned_by: "local",
        description,
        defaults: { temperature, top_p: topP, top_k: topK, min_p: minP, max_tokens: limits.defaultMaxTokens },
        armt: armt && {
            segment_size: armt.segmentSize,
            memory_bytes: armt.memoryBytes,
            schedule: armt.schedule,
            layers: engine.model.armt?.layers,
            sample: sample && { name: sample.name, questions: sample.questions }
        }
    };
}

/** `GET /v1/armt/sample`: a text to try the model with. */
export function getSample({ sample }: Server): RequestHandler {
    return (_request, response) => {
        if (sample === undefined)
            throw new ApiError(404, "this model has no sample document", { code: "sample_not_found" });
        response.type("text/plain").send(sample.text);
    };
}
