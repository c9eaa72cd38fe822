import type { RequestHandler } from "express";
import { ApiError } from "../errors.js";
import { readJsonBody } from "../json-body.js";
import { modelOf } from "../models/with-model.js";
import type { Server } from "../Server.js";
import { embeddingRequestSchema } from "../schemas/other.js";
import { validate } from "../validate.js";

/**
 * `POST /v1/embeddings`: a language model's hidden states are no embeddings that anybody trained, so none are made up.
 */
export function embeddings(server: Server): RequestHandler {
    return async (request) => {
        const body = validate(embeddingRequestSchema, await readJsonBody(request, server));
        throw new ApiError(501, `${modelOf(server, body)} is a language model and makes no embeddings`, {
            param: "model",
            code: "embeddings_not_supported"
        });
    };
}
