import type { LlamaContext, LlamaContextOptions, LlamaModel } from "node-llama-cpp";
import { ArmtContext } from "./ArmtContext.js";
import type { ArmtAddon } from "./addon.js";
import { ArmtNativeError, ArmtUnsupportedError } from "./errors.js";
import { type ArmtModelFacts, readModelFacts } from "./facts.js";
import { withLockOn } from "./internals.js";
import { ArmtMemoryStore } from "./memory/ArmtMemoryStore.js";
import { type ArmtContextOptions, resolveContextOptions } from "./options.js";

/** Bound of `contextSize` × `sequences`: llama.cpp counts positions in 32 bits and rounds contexts up to this many cells. */
const maxPositions = 2 ** 31 - 256;

/** Positions that a model file can name (`armt.context_length`); more would only make llama.cpp warn. */
const maxContextSize = 2 ** 30;

/** Default of `batchSize` on a GPU, where a diagonal is faster than a call for each few tokens. */
const gpuBatchSize = 4096;

export type OptionsWithArmt = LlamaContextOptions & { armt?: ArmtContextOptions };

/** Adds `model.armt` and the `armt` option of `model.createContext`. A plain model stays as it is, but for refusing that option. */
export function decorateModel(model: LlamaModel, addon: ArmtAddon, modelPath = ""): LlamaModel {
    const facts = readModelFacts(model.fileInfo.metadata);
    const createContext = model.createContext.bind(model);
    Object.defineProperty(model, "armt", { value: facts, enumerable: true });
    Object.defineProperty(model, "createContext", {
        value: async ({ armt, ...options }: OptionsWithArmt = {}) => {
            if (facts !== undefined)
                return await createArmtContext(
                    { addon, facts, modelPath, gpu: model.llama.gpu !== false },
                    armt,
                    options,
                    createContext
                );
            if (armt === undefined) return await createContext(options);
            throw new ArmtUnsupportedError(
                `the option \`armt\` is for ARMT models, and ${model.filename} is a plain ${model.fileInfo.metadata.general.architecture} model; leave it out, or convert an ARMT checkpoint with \`armt convert\``
            );
        }
    });
    if (facts === undefined) return model;
    for (const method of ["createEmbeddingContext", "createRankingContext"] as const)
        Object.defineProperty(model, method, {
            value: async () => {
                throw new ArmtUnsupportedError(`${model.filename} is an ARMT model, which has no ${method}()`);
            }
        });
    return model;
}

async function createArmtContext(
    { addon, facts, modelPath, gpu }: { addon: ArmtAddon; facts: ArmtModelFacts; modelPath: string; gpu: boolean },
    armt: ArmtContextOptions | undefined,
    { contextSize, ...options }: LlamaContextOptions,
    createContext: LlamaModel["createContext"]
): Promise<LlamaContext> {
    const native = resolveContextOptions(armt);
    if (armt?.memoryStore !== undefined && !(armt.memoryStore instanceof ArmtMemoryStore))
        throw new TypeError("`armt.memoryStore` has to come from ArmtMemoryStore.open()");
    const sequences = Math.max(1, Math.floor(options.sequences ?? 1));
    const unbounded = Math.min(maxContextSize, Math.floor(maxPositions / sequences / 256) * 256);
    // the engine takes the options from one place for all contexts, so contexts are made one after another
    return await withLockOn(addon, async () => {
        const before = addon.lastContextId();
        setContextOptions(addon, native);
        let context: LlamaContext;
        try {
            const size = contextSize === undefined || contextSize === "auto" ? unbounded : contextSize;
            const batchSize =
                options.batchSize ?? (gpu && typeof size === "number" ? Math.min(gpuBatchSize, size) : undefined);
            context = await createContext({ ...options, contextSize: size, batchSize });
        } catch (error) {
            // node-llama-cpp estimates sizes with the same options first, and says of a failure there that memory is short
            const reason = addon.lastError(0);
            if (!(error instanceof Error) || reason === "") throw error;
            throw new ArmtNativeError(reason, { cause: error });
        } finally {
            addon.setContextOptions(null);
        }
        const id = addon.lastContextId();
        if (id === 0 || id === before) {
            await context.dispose();
            throw new ArmtNativeError(
                "the context was made by another libllama than the one with the ARMT engine; run `npx armt doctor`"
            );
        }
        new ArmtContext(addon, id, facts, armt?.onProgress, armt?.memoryStore, modelPath).decorate(context);
        return context;
    });
}

function setContextOptions(addon: ArmtAddon, native: ReturnType<typeof resolveContextOptions>): void {
    try {
        addon.setContextOptions(native);
    } catch (error) {
        throw new RangeError(error instanceof Error ? error.message : String(error), { cause: error });
    }
}
