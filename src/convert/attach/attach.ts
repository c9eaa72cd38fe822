import path from "node:path";
import { FINGERPRINT_KEY } from "../../formats/gguf/fingerprint.js";
import { type GgufFile, openGguf } from "../../formats/gguf/reader.js";
import { type GgufTensorData, type GgufWriteValue, writeGguf } from "../../formats/gguf/writer.js";
import { openSafetensors } from "../../formats/safetensors/reader.js";
import { AtomicFile } from "../../util/atomic-file.js";
import { ArmtError, quote } from "../../util/errors.js";
import { JsonFile, readJsonFile } from "../../util/json-file.js";
import { type JsonObject, parseStrictJson, parseStrictJsonObject } from "../../util/strict-json.js";
import { type ArmtConfig, type ArmtFlags, parseArmtConfig } from "../armt-config.js";
import type { BaseConfig } from "../base-config.js";
import { Checkpoint } from "../checkpoint.js";
import { families } from "../families.js";
import type { MemorySizes } from "../layout.js";
import { modelKeys } from "../metadata.js";
import { isFile } from "../shards.js";
import { streamTensor } from "../stream.js";
import { copyTokenizer } from "../tokenizer/from-gguf.js";
import { readBaseGguf } from "./base-gguf.js";
import { planBaseTensors } from "./base-tensors.js";
import { memoryHints, planMemoryTensors } from "./memory-tensors.js";

/** Values of `--memory-type` and their tensor types. */
export const attachTypes = { f32: "F32", f16: "F16", bf16: "BF16" } as const;
export type AttachType = keyof typeof attachTypes;

export type AttachOptions = {
    /** A stock GGUF file of the base model. */
    base: string;
    /** ARMT's tensors: a safetensors or torch file. */
    memory: string;
    /** The GGUF file to write. */
    output: string;
    /** Values that the memory file's metadata and the `armt_config.json` next to it lack, or that override them. */
    flags?: ArmtFlags;
    /** Type of the memory's matrices. Default: `bf16` if they are bfloat16, else `f16`. */
    memoryType?: AttachType;
    /** `general.name`. Default: the base's. */
    name?: string;
    /** Replace an existing output. Default: `false`. */
    overwrite?: boolean;
    /** Bytes of the base's tensors done so far, and all of them. */
    onProgress?: (done: number, total: number) => void;
    onWarning?: (message: string) => void;
    signal?: AbortSignal;
};

/**
 * Puts ARMT's tensors, trained on a frozen base, and a stock file of that base together. Every row of the base's
 * tensors keeps its bytes.
 * @throws {ArmtError} that names the file, key, option or tensor at fault; then there is no output
 */
export async function attachMemory(options: AttachOptions): Promise<void> {
    const { base: basePath, memory, output, overwrite = false, memoryType, onProgress, onWarning, signal } = options;
    await (await AtomicFile.create(output, { overwrite })).abort();
    if (!(await isFile(memory))) throw new ArmtError(`cannot read ${quote(memory)}: it is not a file`);
    const file = await openGguf(basePath);
    try {
        const source = readBaseGguf(file);
        const { base } = source;
        let done = 0;
        const onBytes = (count: number) => {
            done += count;
            onProgress?.(done, file.size);
        };
        const baseTensors = planBaseTensors(source, { onBytes, signal });
        const weights = await Checkpoint.open(memory);
        try {
            const json = await readNumbers(memory);
            const armt = parseArmtConfig(json, options.flags ?? {}, memoryHints(weights, base));
            const type = attachTypes[memoryType ?? (weights.halfType === "BF16" ? "bf16" : "f16")];
            const { tensors, sizes } = planMemoryTensors(weights, base, armt, type);
            checkRows(base, armt, sizes);
            const embeddingScale = embeddingScaleOf(file, base);
            const metadata = new Map<string, GgufWriteValue>([
                ...modelKeys(base, armt, { sizes, embeddingScale }, type, options.name),
                ...generalKeys(file, options.name),
                ...(await tokenizerKeys(file, base, onWarning))
            ]);
            const memoryTensors = tensors.map((tensor): GgufTensorData => {
                return { ...tensor, data: () => streamTensor(tensor, { signal }) };
            });
            const contents = { metadata, tensors: [...baseTensors, ...memoryTensors], digestKey: FINGERPRINT_KEY };
            await writeGguf(output, contents, { overwrite });
        } finally {
            await weights.close();
        }
    } finally {
        await file.close();
    }
}

/**
 * ARMT's numbers: the metadata of a safetensors file, by their own keys or all in `armt_config`, and the
 * `armt_config.json` next to it for what they lack.
 */
async function readNumbers(memory: string): Promise<JsonFile | undefined> {
    const beside = await readJsonFile(path.join(path.dirname(memory), "armt_config.json"));
    const values: JsonObject = new Map(beside?.values);
    if (memory.endsWith(".safetensors")) {
        const file = await openSafetensors(memory);
        await file.close();
        for (const [key, text] of file.metadata) {
            if (key === "format") continue; // "pt", says every file of PyTorch's
            try {
                if (key === "armt_config") for (const entry of parseStrictJsonObject(text)) values.set(...entry);
                else values.set(key, isText(key) ? text : parseStrictJson(text));
            } catch (error) {
                if (!(error instanceof ArmtError)) throw error;
                throw new ArmtError(`${quote(memory)}: metadata ${quote(key)}: ${error.message}`, { cause: error });
            }
        }
    }
    return values.size === 0 ? undefined : new JsonFile(memory, values);
}

/** Keys whose values are text, which in the metadata has no quotes. */
function isText(key: string): boolean {
    return key === "segment_alignment" || key === "layers_attr";
}

/** A window or a position table has to hold a segment with its memory tokens. */
function checkRows(base: BaseConfig, armt: ArmtConfig, { memoryTokens, sinkCount }: MemorySizes): void {
    if (armt.wrapPositions)
        throw new ArmtError(
            "`wrap_pos` adds rows to the base's position table, which a frozen base's file lacks: convert the whole " +
                "checkpoint (armt convert)"
        );
    if (armt.slidingWindow && base.positionCount !== undefined)
        throw new ArmtError("`sliding_window` is defined for base models with RoPE: not supported");
    const rows = sinkCount + (armt.slidingWindow ? 2 : 1) * armt.segmentSize + memoryTokens;
    const limit = base.positionCount ?? base.slidingWindow;
    if (limit !== undefined && rows > limit)
        throw new ArmtError(
            `the base model supports ${limit} rows, and a segment has ${rows} with its memory tokens: not ` +
                "supported"
        );
}

/**
 * Factor of text tokens' embeddings, which the family's code rounds to their type; quantized files are of bfloat16
 * models.
 */
function embeddingScaleOf(file: GgufFile, { architecture, hiddenSize }: BaseConfig): number {
    if (!families[architecture].scaledEmbeddings) return 1;
    const type = file.tensors.get("token_embd.weight")!.type.name;
    const scale = Math.sqrt(hiddenSize);
    if (type === "F32") return Math.fround(scale);
    const unit = 2 ** (Math.floor(Math.log2(scale)) - (type === "F16" ? 10 : 7));
    return Math.round(scale / unit) * unit;
}

/** The base's name and the type of its weights. */
function generalKeys(file: GgufFile, name: string | undefined): Map<string, GgufWriteValue> {
    const keys = new Map<string, GgufWriteValue>();
    for (const key of ["general.file_type", "general.quantization_version", "general.name"]) {
        const value = file.metadata.get(key);
        const isWanted = key !== "general.name" || name === undefined;
        if (value !== undefined && value.type !== "ARRAY" && isWanted) keys.set(key, value);
    }
    return keys;
}

async function tokenizerKeys(
    file: GgufFile,
    { vocabSize }: BaseConfig,
    onWarning: AttachOptions["onWarning"]
): Promise<ReadonlyMap<string, GgufWriteValue>> {
    if (file.metadata.has("tokenizer.ggml.tokens")) return copyTokenizer(file.path, vocabSize);
    onWarning?.(`${quote(file.path)} has no tokenizer: the model will work with token ids only`);
    return new Map([["tokenizer.ggml.model", { type: "STRING", value: "no_vocab" }]]);
}
