import { stat } from "node:fs/promises";
import path from "node:path";
import type { Request, RequestHandler } from "express";
import type { LlamaContextSequence } from "../../../../plugin/index.js";
import { clearNativeSequence } from "../../../../plugin/node-llama-cpp/sequence-state.js";
import { ArmtError } from "../../../util/errors.js";
import { ApiError, badParameter } from "../../errors.js";
import { readJsonBody } from "../../json-body.js";
import { modelOf, withModel } from "../../models/with-model.js";
import type { Server } from "../../Server.js";
import { slotActionQuerySchema, slotEraseSchema, slotFileSchema } from "../../schemas/llama-server.js";
import { validate } from "../../validate.js";
import { withSignal } from "../../with-signal.js";
import { slotOf } from "./slots.js";

/** `POST /slots/{id}?action=…` of llama-server: saves, restores or erases what a sequence has read. */
export function changeSlot(server: Server): RequestHandler {
    return withSignal(server, async (request, response, signal) => {
        const { action, model } = validate(slotActionQuerySchema, { ...request.query });
        const change = await changeOf(server, request, action);
        const id = modelOf(server, { model: model ?? change.model });
        const result = await withModel(server, id, signal, async ({ engine: { pool } }) => {
            const slot = pool.list().find(({ sequence }) => String(slotOf(sequence)) === request.params.id);
            if (slot === undefined)
                throw badParameter("id", `there is no slot of this number; they are 0 to ${pool.size - 1}`);
            return await pool.useOnly(slot.sequence, signal, async () => ({
                id_slot: slotOf(slot.sequence),
                ...(await change.run(slot.sequence))
            }));
        });
        response.json(result);
    });
}

interface Change {
    model?: string;
    run(sequence: LlamaContextSequence): Promise<object>;
}

/** @throws {ApiError} for a request that cannot be carried out in any slot */
async function changeOf(server: Server, request: Request, action: "save" | "restore" | "erase"): Promise<Change> {
    const { slotFolder } = server;
    if (slotFolder === undefined)
        throw new ApiError(501, "this server does not support slots action; start it with `--slot-save-path FOLDER`", {
            type: "not_supported_error"
        });
    if (action === "erase") {
        // llama-server's clients send no body here
        const hasBody = request.headers["content-type"] !== undefined;
        const { model } = hasBody ? validate(slotEraseSchema, await readJsonBody(request, server)) : {};
        return { model, run: erase };
    }
    const { filename, model } = validate(slotFileSchema, await readJsonBody(request, server));
    const file = path.join(slotFolder, filename);
    return { model, run: (sequence) => (action === "save" ? save : restore)(sequence, file, filename) };
}

async function erase(sequence: LlamaContextSequence): Promise<object> {
    const count = tokensOf(sequence);
    await sequence.clearHistory();
    return { n_erased: count };
}

async function save(sequence: LlamaContextSequence, file: string, filename: string): Promise<object> {
    const started = performance.now();
    if (tokensOf(sequence) === 0) throw new ApiError(400, "the slot is empty; there is nothing to save");
    const { fileSize } = await sequence.saveStateToFile(file);
    const timings = { save_ms: performance.now() - started };
    return { filename, n_saved: tokensOf(sequence), n_written: fileSize, timings };
}

async function restore(sequence: LlamaContextSequence, file: string, filename: string): Promise<object> {
    const started = performance.now();
    const found = await stat(file).catch(() => undefined);
    if (found === undefined) throw badParameter("filename", "the server's folder has no file of this name");
    try {
        await sequence.loadStateFromFile(file, { acceptRisk: true });
    } catch (error) {
        // node-llama-cpp has forgotten what llama.cpp still holds
        clearNativeSequence(sequence.context, slotOf(sequence));
        await sequence.clearHistory();
        const reason =
            error instanceof ArmtError ? error.message.replaceAll(file, filename) : "it is not a state of this model";
        throw new ApiError(400, `the slot cannot be restored: ${reason}`, { param: "filename" });
    }
    const timings = { restore_ms: performance.now() - started };
    return { filename, n_restored: tokensOf(sequence), n_read: found.size, timings };
}

function tokensOf({ armt, nextTokenIndex }: LlamaContextSequence): number {
    return armt?.tokens ?? nextTokenIndex;
}
