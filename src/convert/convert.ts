import path from "node:path";
import { FINGERPRINT_KEY } from "../gguf/fingerprint.js";
import { type GgufWriteValue, writeGguf } from "../gguf/writer.js";
import { AtomicFile } from "../util/atomic-file.js";
import { ArmtError, quote } from "../util/errors.js";
import { type JsonFile, readJsonFile } from "../util/json-file.js";
import { type ArmtConfig, type ArmtFlags, parseArmtConfig } from "./armt-config.js";
import { type BaseConfig, parseBaseConfig } from "./base-config.js";
import { Checkpoint, sameContents } from "./checkpoint.js";
import { families } from "./families.js";
import type { TargetType } from "./float-encode.js";
import { LayoutPlan, type PlannedTensor } from "./layout.js";
import { modelKeys } from "./metadata.js";
import { streamTensor } from "./stream.js";
import { copyTokenizer } from "./tokenizer/from-gguf.js";
import { readTokenizer } from "./tokenizer/tokenizer.js";

/** Values of `--outtype` and the tensor types they stand for. */
export const outTypes = { f32: "F32", f16: "F16", bf16: "BF16", q8_0: "Q8_0" } as const satisfies Record<
    string,
    TargetType
>;
export type OutType = keyof typeof outTypes;

export type ConvertOptions = {
    /** Folder with `config.json`, the weights and, where they exist, `armt_config.json` and the tokenizer's files. */
    checkpoint: string;
    /** The GGUF file to write. */
    output: string;
    /** Type of the large matrices. Default: `bf16` for a checkpoint whose matrices are bfloat16, so that nothing is lost, else `f16`. */
    outType?: OutType;
    /** What `armt_config.json` lacks or what is to override it. */
    flags?: ArmtFlags;
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
    signal?: AbortSignal;
};

/**
 * Converts a checkpoint of an ARMT to the GGUF file that docs/model-file.md describes. Weights stream through: memory
 * stays below 1 GiB whatever the checkpoint's size.
 * @throws {ArmtError} that names the file, key, option or tensor at fault; then there is no output
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<void> {
    const { checkpoint: folder, output, overwrite = false } = options;
    // An output that can't be written should not become known after minutes.
    await (await AtomicFile.create(output, { overwrite })).abort();
    const configPath = path.join(folder, "config.json");
    const config = await readJsonFile(configPath);
    if (config === undefined) throw new ArmtError(`no ${quote(configPath)}; copy the base model's there`);
    const base = parseBaseConfig(config);
    const armt = parseArmtConfig(await readJsonFile(path.join(folder, "armt_config.json")), options.flags ?? {});
    const warnings: string[] = [];
    const onWarning = (message: string) => warnings.push(message);
    const tokenizer = await tokenizerKeys({ ...options, onWarning }, config, base);
    const checkpoint = await Checkpoint.open(folder);
    try {
        await checkTie(checkpoint, base);
        await write(checkpoint, base, armt, tokenizer, options);
    } finally {
        await checkpoint.close();
    }
    // of an output that there is; a failure is told alone
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
    { checkpoint, vocabFrom, tokenizer = true, pre, onWarning }: ConvertOptions,
    config: JsonFile,
    base: BaseConfig
): Promise<ReadonlyMap<string, GgufWriteValue>> {
    if (vocabFrom !== undefined) return copyTokenizer(vocabFrom, base.vocabSize);
    const keys = tokenizer ? await readTokenizer(checkpoint, config, base.vocabSize, pre) : undefined;
    if (keys !== undefined) return keys;
    if (tokenizer)
        onWarning?.(
            `no tokenizer.json in ${quote(checkpoint)}: the model will work with token ids only (--vocab-from adds one)`
        );
    return new Map([["tokenizer.ggml.model", { type: "STRING", value: "no_vocab" }]]);
}

/** Where config.json ties the output to the embedding, a second matrix in the file must be the same. */
async function checkTie({ tensors }: Checkpoint, { architecture, tiedEmbeddings }: BaseConfig): Promise<void> {
    const { names } = families[architecture];
    const embedding = tensors.get(`${names.embedding}.weight`);
    const output = tensors.get(`${names.output}.weight`);
    if (tiedEmbeddings !== true || embedding === undefined || output === undefined) return;
    if (!(await sameContents(embedding, output)))
        throw new ArmtError(
            `${quote(output.name)} differs from ${quote(embedding.name)}, but config.json has \`tie_word_embeddings\`: true`
        );
}

function sourceBytes({ contents }: PlannedTensor): number {
    if (contents instanceof Float32Array) return 0;
    return contents.reduce(
        (sum, { tensor, rows }) => sum + tensor.byteLength * (rows === undefined ? 1 : rows.count / tensor.shape[0]!),
        0
    );
}
