import type { RequestHandler } from "express";
import { messagesOf, toolsOf, variablesOf } from "../../chat-request.js";
import { readJsonBody } from "../../json-body.js";
import { modelOf, withModel } from "../../models/with-model.js";
import { textOfTokens } from "../../prompts.js";
import type { Server } from "../../Server.js";
import { applyTemplateRequestSchema } from "../../schemas/llama-server.js";
import { validate } from "../../validate.js";
import { withSignal } from "../../with-signal.js";

/** `POST /apply-template`: a chat as the prompt that the model reads. */
export function applyTemplate(server: Server): RequestHandler {
    return withSignal(server, async (request, response, signal) => {
        const body = validate(applyTemplateRequestSchema, await readJsonBody(request, server));
        const tools = toolsOf(body)?.tools;
        const messages = messagesOf(body.messages);
        const prompt = await withModel(server, modelOf(server, body), signal, async ({ engine }) => {
            const variables = variablesOf(body);
            const { tokens } = await engine.renderChat(messages, { tools, variables, signal });
            return await textOfTokens(engine, tokens, signal);
        });
        response.json({ prompt });
    });
}
