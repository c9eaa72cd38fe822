import { type GgufWriteValue, writeGguf } from "../formats/gguf/writer.js";
import { AtomicFile } from "../util/atomic-file.js";
import { quote } from "../util/errors.js";
import { keepInputs } from "../util/keep-inputs.js";
import type { ArmtConfig, ArmtFlags } from "./armt-config.js";
import { type AskFlags, askFormOf, askKeys, earlierKeys, samplingKeys } from "./asking.js";
import type { BaseConfig } from "./base-config.js";
import type { Checkpoint } from "./checkpoint.js";
import type { CheckpointConfigs } from "./configs.js";
import type { TargetType } from "./float-encode.js";
import { LayoutPlan, type PlannedTensor } from "./layout.js";
import type { LoraFlags } from "./lora/lora.js";
import { modelKeys, plainModelName } from "./metadata.js";
import { openCheckpoint } from "./open-checkpoint.js";
import { streamTensor } from "./stream.js";
import { copyTokenizer } from "./tokenizer/from-gguf.js";
import { readTokenizer } from "./tokenizer/tokenizer.js";

/** Values of `--outtype` with their tensor types. */
export const outTypes = { f32: "F32", f16: "F16", bf16: "BF16", q8_0: "Q8_0" } as const satisfies Record<
    string,
    TargetType
>;
export type OutType = keyof typeof outTypes;

export type ConvertOptions = {
    /**
     * Folder with `config.json`, the weights and, if they exist, `armt_config.json`, `adapter_config.json` and the
     * tokenizer's files. Or the weight file itself, if the folder has several candidates.
     */
    checkpoint: string;
    /**
     * The base model's `config.json`, or the folder with it and the tokenizer's files. Default: the checkpoint's own.
     */
    base?: string;
    /** The GGUF file to write. */
    output: string;
    /**
     * Type of the large matrices. Default: `bf16` for a checkpoint with bfloat16 matrices, which loses nothing,
     * otherwise `f16`.
     */
    outType?: OutType;
    /** Values that `armt_config.json` lacks, or overrides for it. */
    flags?: ArmtFlags;
    /** Values that `adapter_config.json` lacks, or overrides for it. */
    lora?: LoraFlags;
    /** Whether to name a published checkpoint with the same shapes even if the values are its own. Default: `false`. */
    namesPublished?: boolean;
    /** A GGUF file to take the tokenizer from. Default: the folder's `tokenizer.json`. */
    vocabFrom?: string;
    /** Whether to include the tokenizer. With `false`, the model works with token ids. Default: `true`. */
    tokenizer?: boolean;
    /** llama.cpp's name of the pre-tokenizer (`tokenizer.ggml.pre`). Default: detected from `tokenizer.json`. */
    pre?: string;
    /** How to ask the model, as it was trained (`armt.ask.*`). Default: the keys are left out. */
    ask?: AskFlags;
    /**
     * Fingerprints that earlier files of the same checkpoint had. The caller vouches that memories made with them fit.
     * Default: none.
     */
    earlierFingerprints?: readonly string[];
    /** `general.name`. Default: none. */
    name?: string;
    /** Whether to replace an existing output. Default: `false`. */
    overwrite?: boolean;
    /** Receives the number of bytes of the checkpoint's weights converted so far, and the total. */
    onProgress?: (done: number, total: number) => void;
    onWarning?: (message: string) => void;
    /** Reports an implicit step: merged adapters. */
    onNote?: (message: string) => void;
    signal?: AbortSignal;
};

/**
 * Converts an ARMT checkpoint to a GGUF file as described in docs/model-file.md. Weights are streamed: memory use stays
 * below 1 GiB whatever the checkpoint's size.
 * @throws {ArmtError} that names the file, key, option or tensor at fault; no output is left then
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<void> {
    const { output, overwrite = false } = options;
    keepInputs(output, [options.checkpoint, options.base, options.vocabFrom]);
    // Fails early if the output cannot be written.
    await (await AtomicFile.create(output, { overwrite })).abort();
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    const { configs, base, armt, weights, tensors } = await openCheckpoint({ ...options, onWarning });
    try {
        const { loraCount } = weights;
        if (options.name !== undefined && plainModelName(options.name) !== options.name)
            onWarning(
                `the name ${quote(options.name)} is written as ${quote(plainModelName(options.name))}: ` +
                    "llama.cpp changes how a model tokenizes by its name"
            );
        const tokenizer = await tokenizerKeys({ ...options, onWarning }, configs, base);
        const sampling = await samplingKeys(configs.tokenizerFolders);
        const ask = askFormOf(options.ask ?? {}, undefined);
        const earlier = earlierKeys(options.earlierFingerprints ?? []);
        const texts = new Map([...sampling, ...(ask === undefined ? [] : askKeys(ask)), ...earlier, ...tokenizer]);
        await write({ tensors, halfType: weights.halfType }, base, armt, texts, options);
        if (loraCount > 0) options.onNote?.(`merged the LoRA updates of ${loraCount} weights`);
        else if (configs.adapter !== undefined)
            onWarning(`${quote(configs.adapter.path)} is there, but no weight has a LoRA update: taken as merged`);
        else if (options.lora?.alpha !== undefined)
            onWarning("an alpha is given (--lora-alpha), but no weight has a LoRA update");
    } finally {
        await weights.close();
    }
    // warnings concern a finished output; a failure is reported without them
    for (const warning of warnings) options.onWarning?.(warning);
}

async function write(
    checkpoint: Pick<Checkpoint, "tensors" | "halfType">,
    base: BaseConfig,
    armt: ArmtConfig,
    more: ReadonlyMap<string, GgufWriteValue>,
    { output, overwrite = false, outType, name, onProgress, signal }: ConvertOptions
): Promise<void> {
    const type = outTypes[outType ?? (checkpoint.halfType === "BF16" ? "bf16" : "f16")];
    const plan = new LayoutPlan(checkpoint.tensors, base, armt, type);
    const total = plan.tensors.reduce((sum, tensor) => sum + sourceBytes(tensor), 0);
    let done = 0;
    const onBytes = (count: number) => {
        done += count;
        onProgress?.(done, total);
    };
    const metadata = new Map([...modelKeys(base, armt, plan, type, name), ...more]);
    const tensors = plan.tensors.map((tensor) => {
        return { ...tensor, data: () => streamTensor(tensor, { onBytes, signal }) };
    });
    await writeGguf(output, { metadata, tensors, fingerprint: true }, { overwrite });
}

async function tokenizerKeys(
    { vocabFrom, tokenizer = true, pre, name, onWarning }: ConvertOptions,
    { base: config, folder, tokenizerFolders }: CheckpointConfigs,
    { vocabSize }: BaseConfig
): Promise<ReadonlyMap<string, GgufWriteValue>> {
    if (vocabFrom !== undefined) return copyTokenizer(vocabFrom, vocabSize);
    if (tokenizer) {
        for (const place of tokenizerFolders) {
            const keys = await readTokenizer(place, config, vocabSize, { pre, name });
            if (keys !== undefined) return keys;
        }
        onWarning?.(
            `no tokenizer.json in ${quote(folder)}: the model will work with token ids only (--vocab-from adds one)`
        );
    }
    return new Map([["tokenizer.ggml.model", { type: "STRING", value: "no_vocab" }]]);
}

function sourceBytes({ contents }: PlannedTensor): number {
    if (contents instanceof Float32Array) return 0;
    return contents.reduce(
        (sum, { tensor, rows }) => sum + tensor.byteLength * (rows === undefined ? 1 : rows.count / tensor.shape[0]!),
        0
    );
}
