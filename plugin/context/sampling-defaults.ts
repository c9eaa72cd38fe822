import type { LlamaModel } from "node-llama-cpp";

/** How a model's answers are best drawn, as its file says (GGUF keys `general.sampling.*`, which llama.cpp reads). */
export interface ArmtSamplingDefaults {
    /** `general.sampling.temp`; 0 takes the most probable token. */
    readonly temperature?: number;
    /** `general.sampling.top_k`; 0: all tokens. */
    readonly topK?: number;
    /** `general.sampling.top_p` */
    readonly topP?: number;
    /** `general.sampling.min_p` */
    readonly minP?: number;
    /** `general.sampling.penalty_repeat`; 1: no penalty. */
    readonly repeatPenalty?: number;
    /** `general.sampling.penalty_last_n`: recent tokens that the penalty counts; -1: all. Unit: tokens. */
    readonly repeatLastN?: number;
}

/** The last part of each key, and the numbers that make sense. */
const keys: Readonly<Record<keyof ArmtSamplingDefaults, readonly [key: string, min: number, max: number]>> = {
    temperature: ["temp", 0, 100],
    topK: ["top_k", 0, 2 ** 31 - 1],
    topP: ["top_p", 0, 1],
    minP: ["min_p", 0, 1],
    repeatPenalty: ["penalty_repeat", 0.01, 100],
    repeatLastN: ["penalty_last_n", -1, 2 ** 31 - 1]
};

/** Reads the defaults of a model file. A number outside its range counts as absent, as it does in llama.cpp. */
export function samplingDefaults(model: Pick<LlamaModel, "fileInfo">): ArmtSamplingDefaults {
    const { general } = model.fileInfo.metadata as { readonly general?: { readonly sampling?: unknown } };
    const sampling = general?.sampling;
    if (typeof sampling !== "object" || sampling === null) return {};
    const found = Object.entries(keys).flatMap(([name, [key, min, max]]) => {
        const value = Number((sampling as Readonly<Record<string, unknown>>)[key]);
        if (!(value >= min && value <= max)) return [];
        // float32 numbers of the file, as they were written: 0.95 rather than 0.949999988079071
        return [[name, Number(value.toPrecision(6))]];
    });
    return Object.fromEntries(found);
}
