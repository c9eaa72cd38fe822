import { once } from "node:events";
import type { RequestHandler } from "express";
import type { Token } from "../../../plugin/index.js";
import { TokenBytes } from "../../generation/TokenBytes.js";
import type { Engine } from "../engine/Engine.js";
import { readJsonBody } from "../json-body.js";
import { modelOf, withModel } from "../models/with-model.js";
import { checkTokens, textOfTokens } from "../prompts.js";
import type { Server } from "../Server.js";
import { detokenizeRequestSchema, tokenizeRequestSchema } from "../schemas/other.js";
import { validate } from "../validate.js";
import { withSignal } from "../with-signal.js";

/** Tokens that are written at once. */
const step = 2 ** 14;

/** `POST /tokenize` */
export function tokenize(server: Server): RequestHandler {
    return withSignal(server, async (request, response, signal) => {
        const body = validate(tokenizeRequestSchema, await readJsonBody(request, server));
        const { content, add_special = false, parse_special = true, with_pieces = false } = body;
        await withModel(server, modelOf(server, body), signal, async ({ engine }) => {
            const tokens = await engine.tokenize(content, { begin: add_special, special: parse_special, signal });
            response.type("json");
            response.write('{"tokens":[');
            for (let start = 0; start < tokens.length; start += step) {
                const ids = tokens.slice(start, start + step);
                const part = with_pieces ? ids.map((id) => JSON.stringify(pieceOf(engine, id))).join() : ids.join();
                if (!response.write(start === 0 ? part : `,${part}`)) await once(response, "drain", { signal });
            }
            response.end("]}");
        });
    });
}

/** `POST /detokenize` */
export function detokenize(server: Server): RequestHandler {
    return withSignal(server, async (request, response, signal) => {
        const body = validate(detokenizeRequestSchema, await readJsonBody(request, server));
        const content = await withModel(server, modelOf(server, body), signal, ({ engine }) =>
            textOfTokens(engine, checkTokens(engine, body.tokens, "tokens"), signal)
        );
        response.json({ content });
    });
}

/** A token with its text, or its bytes if they are part of a character. */
function pieceOf({ model }: Engine, id: Token) {
    const bytes = TokenBytes.of(model).get(id, true);
    const text = bytes.toString();
    return { id, piece: text.includes("\ufffd") ? [...bytes] : text };
}
