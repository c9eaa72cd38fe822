import type { RequestHandler } from "express";
import { ApiError } from "../errors.js";
import { readJsonBody } from "../json-body.js";
import { modelOf, withModel } from "../models/with-model.js";
import type { Server } from "../Server.js";
import { modelQuerySchema } from "../schemas/other.js";
import { validate } from "../validate.js";
import { withSignal } from "../with-signal.js";

/** `GET /v1/models`, also in the form of Anthropic's API for its clients. */
export function listModels(server: Server): RequestHandler {
    return ({ headers }, response) => {
        const { ids } = server.models;
        if (headers["anthropic-version"] === undefined)
            return void response.json({ object: "list", data: ids.map((id) => describe(server, id)) });
        const data = ids.map((id) => describeForAnthropic(server, id));
        response.json({ data, has_more: false, first_id: ids[0], last_id: ids.at(-1) });
    };
}

/** `GET /v1/models/{id}`; a name may have slashes, which clients send as they are. */
export function getModel(server: Server): RequestHandler {
    return (request, response) => {
        const model = [request.params.id ?? []].flat().join("/");
        const id = modelOf(server, { model });
        const isAnthropic = request.headers["anthropic-version"] !== undefined;
        response.json(isAnthropic ? describeForAnthropic(server, id) : describe(server, id));
    };
}

/** `POST /models/load` of llama-server: the model is ready when the answer comes. */
export function loadModel(server: Server): RequestHandler {
    return withSignal(server, async (request, response, signal) => {
        const id = modelOf(server, validate(modelQuerySchema, await readJsonBody(request, server)));
        await withModel(server, id, signal, async () => {});
        response.json({ success: true });
    });
}

/** `POST /models/unload` of llama-server. */
export function unloadModel(server: Server): RequestHandler {
    return async (request, response) => {
        const id = modelOf(server, validate(modelQuerySchema, await readJsonBody(request, server)));
        if (!(await server.models.unload(id)))
            throw new ApiError(409, `the model \`${id}\` is in use, or it is the only one`, { code: "model_in_use" });
        response.json({ success: true });
    };
}

/** What the size of an open state is, and its schedule, is known once a model is loaded. */
function describe({ models, facts, limits }: Server, id: string) {
    const { created, description, sampling, armt } = facts.get(id)!;
    const { engine, sample, questionForms } = models.peek(id) ?? {};
    const { temperature = 1, topP = 1, topK = 0, minP = 0 } = sampling;
    const context = engine?.context.armt;
    return {
        id,
        object: "model",
        created,
        owned_by: "local",
        description,
        status: { value: models.stateOf(id) },
        defaults: { temperature, top_p: topP, top_k: topK, min_p: minP, max_tokens: limits.defaultMaxTokens },
        armt: armt && {
            segment_size: context?.segmentSize ?? armt.segmentSize,
            memory_bytes: context?.memoryBytes,
            schedule: context?.schedule,
            layers: armt.layers,
            sample: sample && { name: sample.name, questions: sample.questions },
            question_forms: questionForms
        }
    };
}

function describeForAnthropic({ facts }: Server, id: string) {
    const created = new Date(facts.get(id)!.created * 1000).toISOString();
    return { type: "model", id, display_name: id, created_at: created };
}

/** `GET /v1/armt/sample`: a text to try the model with. */
export function getSample(server: Server): RequestHandler {
    return (request, response) => {
        const id = modelOf(server, validate(modelQuerySchema, { ...request.query }));
        const sample = server.models.peek(id)?.sample;
        if (sample === undefined)
            throw new ApiError(404, "this model has no sample document", { code: "sample_not_found" });
        response.type("text/plain").send(sample.text);
    };
}
