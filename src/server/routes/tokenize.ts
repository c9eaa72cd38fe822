import type { RequestHandler } from "express";
import type { Token } from "../../../plugin/index.js";
import { badParameter } from "../errors.js";
import { readJsonBody } from "../json-body.js";
import type { Server } from "../Server.js";
import { detokenizeRequestSchema, tokenizeRequestSchema } from "../schemas/other.js";
import { validate } from "../validate.js";

/** `POST /tokenize` */
export function tokenize({ engine, limits }: Server): RequestHandler {
    return async (request, response) => {
        const body = await readJsonBody(request, limits.maxBodyBytes, limits.bodyTimeoutMs);
        const { content, add_special = false, parse_special = true } = validate(tokenizeRequestSchema, body);
        response.json({ tokens: await engine.tokenize(content, { begin: add_special, special: parse_special }) });
    };
}

/** `POST /detokenize` */
export function detokenize({ engine, limits }: Server): RequestHandler {
    return async (request, response) => {
        const body = await readJsonBody(request, limits.maxBodyBytes, limits.bodyTimeoutMs);
        const { tokens } = validate(detokenizeRequestSchema, body);
        const wrong = tokens.findIndex((token) => token >= engine.vocabSize);
        if (wrong >= 0) throw badParameter(`tokens.${wrong}`, `the model's tokens are 0 to ${engine.vocabSize - 1}`);
        response.json({ content: engine.model.detokenize(tokens as Token[], true) });
    };
}
