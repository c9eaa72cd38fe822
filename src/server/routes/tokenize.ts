import type { RequestHandler } from "express";
import type { Token } from "../../../plugin/index.js";
import { textOf } from "../../generation/TextStream.js";
import { badParameter } from "../errors.js";
import { readJsonBody } from "../json-body.js";
import type { Server } from "../Server.js";
import { detokenizeRequestSchema, tokenizeRequestSchema } from "../schemas/other.js";
import { validate } from "../validate.js";

/** `POST /tokenize` */
export function tokenize(server: Server): RequestHandler {
    return async (request, response) => {
        const { engine } = server;
        const body = await readJsonBody(request, server);
        const { content, add_special = false, parse_special = true } = validate(tokenizeRequestSchema, body);
        response.json({ tokens: await engine.tokenize(content, { begin: add_special, special: parse_special }) });
    };
}

/** `POST /detokenize` */
export function detokenize(server: Server): RequestHandler {
    return async (request, response) => {
        const { engine } = server;
        const body = await readJsonBody(request, server);
        const { tokens } = validate(detokenizeRequestSchema, body);
        const wrong = tokens.findIndex((token) => token >= engine.vocabSize);
        if (wrong >= 0) throw badParameter(`tokens.${wrong}`, `the model's tokens are 0 to ${engine.vocabSize - 1}`);
        response.json({ content: textOf(engine.model, tokens as Token[], { special: true }) });
    };
}
