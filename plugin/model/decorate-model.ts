import type { LlamaContextOptions, LlamaModel } from "node-llama-cpp";
import { ArmtUnsupportedError } from "../errors.js";
import type { ArmtAddon } from "../native/addon.js";
import { joinText } from "../node-llama-cpp/llama-text.js";
import type { ArmtContextOptions } from "../options.js";
import type { ArmtModelInfo } from "../types.js";
import { createContext } from "./create-context.js";
import { normalizeText } from "./normalize-text.js";
import { separateQuestions } from "./question-text.js";

/** Where a model came from, and where it went. */
export interface ModelFile {
    /** Absolute path of the model file; empty if unknown. */
    readonly modelPath: string;
    /** Whether RPC servers hold a part of it. */
    readonly hasServers: boolean;
}

type OptionsWithArmt = LlamaContextOptions & { armt?: ArmtContextOptions };

/**
 * Adds `model.armt` and the `armt` option of `model.createContext`.
 * @param info undefined for a plain model, which keeps all its methods and refuses that option
 */
export function decorateModel(
    model: LlamaModel,
    addon: ArmtAddon,
    info: ArmtModelInfo | undefined,
    file: ModelFile = { modelPath: "", hasServers: false }
): LlamaModel {
    const createPlainContext = model.createContext.bind(model);
    Object.defineProperties(model, {
        armt: { value: info, enumerable: true },
        createContext: {
            value: async ({ armt, ...options }: OptionsWithArmt = {}) => {
                if (info !== undefined)
                    return await createContext({ model, addon, info, ...file, createPlainContext }, armt, options);
                if (armt === undefined) return await createPlainContext(options);
                throw new ArmtUnsupportedError(
                    `the option \`armt\` is for ARMT models, and ${model.filename} is a plain ` +
                        `${model.fileInfo.metadata.general.architecture} model; leave the option out, or convert an ` +
                        "ARMT checkpoint with `armt convert`"
                );
            }
        }
    });
    if (info === undefined) return model;
    normalizeText(model);
    separateQuestions(model, info);
    joinText(model);
    for (const method of ["createEmbeddingContext", "createRankingContext"] as const)
        Object.defineProperty(model, method, {
            value: async () => {
                throw new ArmtUnsupportedError(
                    `${model.filename} is an ARMT model, and ARMT models do not support ${method}()`
                );
            }
        });
    return model;
}
