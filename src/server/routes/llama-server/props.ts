import type { RequestHandler } from "express";
import { samplingOf } from "../../answer.js";
import { ApiError } from "../../errors.js";
import { modelOf, withModel } from "../../models/with-model.js";
import type { ModelServer, Server } from "../../Server.js";
import { modelQuerySchema } from "../../schemas/other.js";
import { validate } from "../../validate.js";
import { withSignal } from "../../with-signal.js";
import { settingsOf } from "./settings.js";

/** `GET /props`: llama-server's description of the model and the defaults of a completion. */
export function props(server: Server, version: string): RequestHandler {
    return withSignal(server, async (request, response, signal) => {
        const id = modelOf(server, validate(modelQuerySchema, { ...request.query }));
        response.json(await withModel(server, id, signal, async (server) => describe(server, version)));
    });
}

/** `POST /props`: llama-server changes nothing with it unless it is started with `--props`. */
export const changeProps: RequestHandler = () => {
    throw new ApiError(501, "this server does not support changing global properties", { type: "not_supported_error" });
};

function describe(server: ModelServer, version: string) {
    const { engine } = server;
    const { model, context, pool, modelId } = engine;
    const sampling = samplingOf(server, {});
    return {
        default_generation_settings: {
            n_ctx: context.contextSize,
            params: settingsOf(server, { body: {}, sampling, maxTokens: undefined })
        },
        total_slots: pool.size,
        model_alias: modelId,
        // others need not know where this machine keeps its models
        model_path: model.filename ?? "",
        modalities: { vision: false, audio: false },
        chat_template: model.fileInfo.metadata.tokenizer?.chat_template ?? "",
        // what a template has no form for becomes text
        chat_template_caps: {
            supports_string_content: true,
            supports_typed_content: false,
            supports_tools: true,
            supports_tool_calls: true,
            supports_parallel_tool_calls: true,
            supports_system_role: true
        },
        bos_token: model.tokens.bosString ?? "",
        eos_token: model.tokens.eosString ?? "",
        build_info: `node-llama-cpp-armt ${version}`,
        is_sleeping: false
    };
}
