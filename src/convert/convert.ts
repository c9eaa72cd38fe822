import { FINGERPRINT_KEY } from "../formats/gguf/fingerprint.js";
import { type GgufWriteValue, writeGguf } from "../formats/gguf/writer.js";
import { AtomicFile } from "../util/atomic-file.js";
import { quote } from "../util/errors.js";
import type { ArmtConfig, ArmtFlags } from "./armt-config.js";
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

/** Values of `--outtype` and their tensor types. */
export const outTypes = { f32: "F32", f16: "F16", bf16: "BF16", q8_0: "Q8_0" } as const satisfies Record<
    string,
    TargetType
>;
export type OutType = keyof typeof outTypes;

export type ConvertOptions = {
    /**
     * Folder with `config.json`, the weights and, where they exist, `armt_config.json`, `adapter_config.json` and the
     * tokenizer's files; or its file of weights, if several could be meant.
     */
    checkpoint: string;
    /**
     * The base model's `config.json`, or the folder with it and the tokenizer's files. Default: the checkpoint's own.
     */
    base?: string;
    /** The GGUF file to write. */
    output: string;
    /**
     * Type of the large matrices. Default: `bf16` for a checkpoint whose matrices are bfloat16, so that nothing is
     * lost, else `f16`.
     */
    outType?: OutType;
    /** What `armt_config.json` lacks or what is to override it. */
    flags?: ArmtFlags;
    /** What `adapter_config.json` lacks or what is to override it. */
    lora?: LoraFlags;
    /** A GGUF file to take the tokenizer from. Default: the folder's `tokenizer.json`. */
    vocabFrom?: string;
    /** `false` leaves the tokenizer out: the model works with token ids. Default: `true`. */
    tokenizer?: boolean;
    /** llama.cpp's name of the pre-tokenizer (`tokenizer.ggml.pre`). Default: recognised from `tokenizer.json`. */
    pre?: string;
    /** `general.name`. Default: none. */
    name?: string;
    /** Replace an existing output. Default: `false`. */
    overwrite?: boolean;
    /** Bytes of the checkpoint's weights converted so far, and all of them. */
    onProgress?: (done: number, total: number) => void;
    onWarning?: (message: string) => void;
    /** Reports an implicit step: merged adapters. */
    onNote?: (message: string) => void;
    signal?: AbortSignal;
};

/**
 * Converts a checkpoint of an ARMT to the GGUF file that docs/model-file.md describes. Weights stream through: memory
 * stays below 1 GiB whatever the checkpoint's size.
 * @throws {ArmtError} that names the file, key, option or tensor at fault; then there is no output
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<void> {
    const { output, overwrite = false } = options;
    // Fails early if the output cannot be written.
    await (await AtomicFile.create(output, { overwrite })).abort();
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    const { configs, base, armt, weights } = await openCheckpoint({ ...options, onWarning });
    try {
        const { loraCount } = weights;
        if (options.name !== undefined && plainModelName(options.name) !== options.name)
            onWarning(
                `the name ${quote(options.name)} is written as ${quote(plainModelName(options.name))}: ` +
                    "llama.cpp changes how a model tokenizes by its name"
            );
        const tokenizer = await tokenizerKeys({ ...options, onWarning }, configs, base);
        await write(weights, base, armt, tokenizer, options);
        if (loraCount > 0) options.onNote?.(`merged the LoRA updates of ${loraCount} weights`);
        else if (configs.adapter !== undefined)
            onWarning(`${quote(configs.adapter.path)} is there, but no weight has a LoRA update: taken as merged`);
        else if (options.lora?.alpha !== undefined)
            onWarning("an alpha is given (--lora-alpha), but no weight has a LoRA update");
    } finally {
        await weights.close();
    }
    // warnings are about a finished output; a failure is reported alone
    for (const warning of warnings) options.onWarning?.(warning);
}

async function write(
    checkpoint: Checkpoint,
    base: BaseConfig,
    armt: ArmtConfig,
    tokenizer: ReadonlyMap<string, GgufWriteValue>,
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
    const metadata = new Map([...modelKeys(base, armt, plan, type, name), ...tokenizer]);
    const tensors = plan.tensors.map((tensor) => {
        return { ...tensor, data: () => streamTensor(tensor, { onBytes, signal }) };
    });
    await writeGguf(output, { metadata, tensors, digestKey: FINGERPRINT_KEY }, { overwrite });
}

async function tokenizerKeys(
    { vocabFrom, tokenizer = true, pre, name, onWarning }: ConvertOptions,
    { base: config, folder, tokenizerFolders }: CheckpointConfigs,
    { vocabSize }: BaseConfig
): Promise<ReadonlyMap<string, GgufWriteValue>> {
    if (vocabFrom !== undefined) return copyTokenizer(vocabFrom, vocabSize);
    if (tokenizer) {
        for (const place of tokenizerFolders) {
            const keys = await readTokenizer(place, config, vocabSize, { pre, name, onWarning });
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
