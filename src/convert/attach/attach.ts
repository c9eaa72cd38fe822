import { type GgufFile, openGguf } from "../../formats/gguf/reader.js";
import { type GgufTensorData, type GgufWriteValue, writeGguf } from "../../formats/gguf/writer.js";
import { AtomicFile } from "../../util/atomic-file.js";
import { ArmtError, quote } from "../../util/errors.js";
import { keepInputs } from "../../util/keep-inputs.js";
import { type ArmtConfig, type ArmtFlags, parseArmtConfig } from "../armt-config.js";
import { type AskFlags, askFormOf, askKeys, earlierKeys } from "../asking.js";
import type { BaseConfig } from "../base-config.js";
import { families } from "../families.js";
import type { MemorySizes } from "../layout.js";
import type { LoraFlags } from "../lora/lora.js";
import { modelKeys } from "../metadata.js";
import { streamTensor } from "../stream.js";
import { copyTokenizer } from "../tokenizer/from-gguf.js";
import { readBaseGguf } from "./base-gguf.js";
import { type MergedType, planBaseTensors } from "./base-tensors.js";
import { checkBase } from "./check-base.js";
import { stockUpdates } from "./lora-updates.js";
import { type MemoryFacts, type MemoryFile, openMemoryFile } from "./memory-file.js";
import { memoryHints, planMemoryTensors } from "./memory-tensors.js";

/** Values of `--memory-type` and the tensor types they stand for. */
export const attachTypes = { f32: "F32", f16: "F16", bf16: "BF16", q8_0: "Q8_0" } as const;
export type AttachType = keyof typeof attachTypes;
/** A model's key that has what the memory's file says of its training. */
export const trainingKey = "armt.training";

export type AttachOptions = {
    /** A stock GGUF file of the base model. */
    base: string;
    /** ARMT's tensors, and LoRA of the base: a safetensors, GGUF (docs/memory-file.md) or torch file. */
    memory: string;
    /** The GGUF file to write. */
    output: string;
    /** Values that the memory file's metadata and the `armt_config.json` next to it lack, or that override them. */
    flags?: ArmtFlags;
    /** What of LoRA the memory's file doesn't say, or what overrides it. */
    lora?: LoraFlags;
    /** Type of the memory's matrices. Default: `q8_0` if they are q8_0, `bf16` if they are bfloat16, else `f16`. */
    memoryType?: AttachType;
    /**
     * Type of the base's matrices that LoRA changes, or whose parts become one and have several types. Default: their
     * own type if it is a float type or q8_0, else `q8_0`.
     */
    mergedType?: MergedType;
    /** How to ask the model, over what the memory's file says. */
    ask?: AskFlags;
    /**
     * Fingerprints that earlier files of the same model had. The caller vouches that memories made with them fit.
     * Default: none.
     */
    earlierFingerprints?: readonly string[];
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
 * Puts ARMT's tensors, trained on a frozen base, and a stock file of that base together. Rows of the base's tensors
 * keep their bytes, unless LoRA changes them or they become one matrix with rows of another type.
 * @throws {ArmtError} that names the file, key, option or tensor at fault; then there is no output
 */
export async function attachMemory(options: AttachOptions): Promise<void> {
    const { base: basePath, memory, output, overwrite = false, memoryType, onProgress, onWarning, signal } = options;
    keepInputs(output, [basePath, memory]);
    await (await AtomicFile.create(output, { overwrite })).abort();
    const memoryFile = await openMemoryFile(memory, options.lora);
    try {
        const file = await openGguf(basePath);
        try {
            const { weights, facts, numbers } = memoryFile;
            const source = readBaseGguf(file);
            const { base } = source;
            if (facts !== undefined) await checkBase(source, facts.base);
            let done = 0;
            const onBytes = (count: number) => {
                done += count;
                onProgress?.(done, file.size);
            };
            const lora = stockUpdates(memoryFile, source);
            const baseTensors = planBaseTensors(source, { lora, mergedType: options.mergedType, onBytes, signal });
            const armt = parseArmtConfig(numbers, options.flags ?? {}, memoryHints(weights, base));
            const type = attachTypes[memoryType ?? memoryTypeOf(memoryFile)];
            const { tensors, sizes } = planMemoryTensors(weights, base, armt, type);
            checkRows(base, armt, sizes);
            const ask = askFormOf(options.ask ?? {}, facts?.ask);
            const embeddingScale = embeddingScaleOf(file, base);
            const metadata = new Map<string, GgufWriteValue>([
                ...modelKeys(base, armt, { sizes, embeddingScale }, type, options.name),
                ...generalKeys(file, options.name),
                ...samplingOf(file),
                ...(facts === undefined ? [] : trainingKeys(facts)),
                ...(ask === undefined ? [] : askKeys(ask)),
                ...earlierKeys(options.earlierFingerprints ?? []),
                ...(await tokenizerKeys(file, base, onWarning))
            ]);
            const memoryTensors = tensors.map((tensor): GgufTensorData => {
                return { ...tensor, data: () => streamTensor(tensor, { signal }) };
            });
            const contents = { metadata, tensors: [...baseTensors, ...memoryTensors], fingerprint: true };
            await writeGguf(output, contents, { overwrite });
        } finally {
            await file.close();
        }
    } finally {
        await memoryFile.weights.close();
    }
}

function memoryTypeOf({ weights, isQuantized }: MemoryFile): AttachType {
    if (isQuantized) return "q8_0";
    return weights.halfType === "BF16" ? "bf16" : "f16";
}

/** What the memory's file says for people and programs that ask the model. */
function trainingKeys({ base, training }: MemoryFacts): Map<string, GgufWriteValue> {
    const keys = new Map<string, GgufWriteValue>();
    const string = (key: string, value: string | undefined) => {
        if (value !== undefined) keys.set(key, { type: "STRING", value });
    };
    string("general.license", base.license);
    if (base.name !== undefined) {
        keys.set("general.base_model.count", { type: "UINT32", value: 1 });
        string("general.base_model.0.name", base.name);
    }
    string(trainingKey, training);
    return keys;
}

/** The base's defaults of sampling, as llama.cpp reads them. */
function samplingOf(file: GgufFile): [string, GgufWriteValue][] {
    return [...file.metadata].flatMap(([key, value]): [string, GgufWriteValue][] =>
        key.startsWith("general.sampling.") && value.type !== "ARRAY" ? [[key, value]] : []
    );
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
    const rows = sinkCount + (armt.slidingWindow || armt.rereadsPrevious ? 2 : 1) * armt.segmentSize + memoryTokens;
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
