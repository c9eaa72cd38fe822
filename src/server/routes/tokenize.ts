import { once } from "node:events";
import type { RequestHandler } from "express";
import type { Token } from "../../../plugin/index.js";
import { TextStream } from "../../generation/TextStream.js";
import { TimeSlice } from "../../util/TimeSlice.js";
import { badParameter } from "../errors.js";
import { readJsonBody } from "../json-body.js";
import type { Server } from "../Server.js";
import { detokenizeRequestSchema, tokenizeRequestSchema } from "../schemas/other.js";
import { validate } from "../validate.js";
import { withSignal } from "../with-signal.js";

/** Tokens that are written at once. */
const step = 2 ** 14;

/** `POST /tokenize` */
export function tokenize(server: Server): RequestHandler {
    return withSignal(server, async (request, response, signal) => {
        const { engine } = server;
        const body = await readJsonBody(request, server);
        const { content, add_special = false, parse_special = true } = validate(tokenizeRequestSchema, body);
        const tokens = await engine.tokenize(content, { begin: add_special, special: parse_special, signal });
        response.type("json");
        response.write('{"tokens":[');
        for (let start = 0; start < tokens.length; start += step) {
            const part = tokens.slice(start, start + step).join();
            if (!response.write(start === 0 ? part : `,${part}`)) await once(response, "drain", { signal });
        }
        response.end("]}");
    });
}

/** `POST /detokenize` */
export function detokenize(server: Server): RequestHandler {
    return withSignal(server, async (request, response, signal) => {
        const { engine } = server;
        const body = await readJsonBody(request, server);
        const { tokens } = validate(detokenizeRequestSchema, body);
        const wrong = tokens.findIndex((token) => token >= engine.vocabSize);
        if (wrong >= 0) throw badParameter(`tokens.${wrong}`, `the model's tokens are 0 to ${engine.vocabSize - 1}`);
        const text = new TextStream(engine.model, { special: true });
        const parts: string[] = [];
        const slice = new TimeSlice(signal);
        for (let start = 0; start < tokens.length; start += step) {
            for (const token of tokens.slice(start, start + step)) parts.push(text.push(token as Token));
            if (slice.isOver) await slice.pause();
        }
        response.json({ content: parts.join("") + text.end() });
    });
}
