import type { RequestHandler } from "express";
import type { LlamaContextSequence } from "../../../../plugin/index.js";
import { sequenceIdOf } from "../../../../plugin/node-llama-cpp/decode.js";
import { ApiError } from "../../errors.js";
import { modelOf } from "../../models/with-model.js";
import type { Server } from "../../Server.js";
import { slotsQuerySchema } from "../../schemas/llama-server.js";
import { validate } from "../../validate.js";

/** `GET /slots`: the sequences of a model, which llama-server calls slots. A model that is not loaded has none. */
export function slots(server: Server): RequestHandler {
    return (request, response) => {
        const query = validate(slotsQuerySchema, { ...request.query });
        const model = server.models.peek(modelOf(server, query));
        if (model === undefined) return void response.json([]);
        const { pool, context } = model.engine;
        if (query.fail_on_no_slot !== undefined && pool.busy === pool.size)
            throw new ApiError(503, "no slot available");
        response.json(
            pool.list().map(({ sequence, isBusy }) => ({
                id: slotOf(sequence),
                n_ctx: context.contextSize,
                speculative: false,
                is_processing: isBusy,
                n_prompt_tokens: sequence.armt?.tokens ?? sequence.nextTokenIndex,
                armt: sequence.armt && { segments: sequence.armt.segmentsClosed, cells: sequence.armt.cells }
            }))
        );
    };
}

/** The number of a sequence, from 0. */
export function slotOf(sequence: LlamaContextSequence): number {
    return sequenceIdOf(sequence);
}
