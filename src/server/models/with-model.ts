import type { StoredMemory } from "../engine/MemoryRegistry.js";
import { ApiError, badParameter } from "../errors.js";
import type { ModelServer, Server } from "../Server.js";

/** Names that an error lists. */
const maxListed = 50;

/** What a request says about its model. */
export interface Wanted {
    /** Name of the model. Default: that of the memory, or the first. */
    readonly model?: string;
    /** The memory that the request continues. */
    readonly memory?: StoredMemory;
}

/**
 * The model that a request means.
 * @throws {ApiError} if there is none of this name, or if the memory was read by another
 */
export function modelOf({ models }: Server, { model, memory }: Wanted): string {
    const id = model ?? memory?.model ?? models.ids[0]!;
    if (!models.has(id)) {
        const listed = models.ids.slice(0, maxListed).map((name) => `\`${name}\``);
        const more = models.ids.length > maxListed ? ", …" : "";
        throw new ApiError(
            404,
            `this server has no model of this name; GET /v1/models lists ${listed.join(", ")}${more}`,
            { param: "model", code: "model_not_found" }
        );
    }
    if (memory !== undefined && memory.model !== id)
        throw badParameter(
            "armt.memory",
            `the model \`${memory.model}\` read this memory, and \`${id}\` cannot use it`
        );
    return id;
}

/**
 * Runs `work` with a model, which is loaded first if it has to be.
 * @param id a name that {@link modelOf} gave
 * @param isLong whether `work` may take hours
 */
export async function withModel<T>(
    server: Server,
    id: string,
    signal: AbortSignal,
    work: (server: ModelServer) => Promise<T>,
    isLong = false
): Promise<T> {
    return await server.models.use(id, signal, ({ engine }) => work({ ...server, engine }), isLong);
}
