import { stat } from "node:fs/promises";
import { type ArmtSamplingDefaults, samplingDefaults } from "../../../plugin/context/sampling-defaults.js";
import {
    type ArmtModelInfo,
    type GgufFileInfo,
    GgufFileType,
    type LlamaModel,
    readGgufFileInfo
} from "../../../plugin/index.js";
import { readModelInfo } from "../../../plugin/model/model-file.js";

/** What is known of a model without loading it. */
export interface ModelFacts {
    /** Name of the model in the API. */
    readonly id: string;
    /** Unix time of its file. Unit: seconds. */
    readonly created: number;
    /** Size of the weights. Unit: bytes. */
    readonly bytes: number;
    /** What the model can do, for people. */
    readonly description: string | undefined;
    readonly architecture: string;
    /** Type of most weights, such as `Q8_0`. */
    readonly quantization: string;
    readonly hasTokenizer: boolean;
    /** Tokens that the model was trained with, as its file says. */
    readonly contextLength: number | undefined;
    readonly chatTemplate: string | undefined;
    readonly sampling: ArmtSamplingDefaults;
    /** Undefined for a plain model. */
    readonly armt: Pick<ArmtModelInfo, "layers" | "segmentSize" | "fingerprint" | "earlierFingerprints"> | undefined;
}

export interface KnownFacts {
    id: string;
    /** Default: what the file says. */
    description?: string;
}

/**
 * Reads the facts from the header of a model file.
 * @throws {ArmtError} if it is not a whole model file
 */
export async function readFacts(file: string, known: KnownFacts): Promise<ModelFacts> {
    const armt = await readModelInfo(file);
    const info = await readGgufFileInfo(file, { readTensorInfo: false, sourceType: "filesystem" });
    const { size, mtimeMs } = await stat(file);
    return factsOf(info, { ...known, armt, bytes: size, created: Math.floor(mtimeMs / 1000) });
}

/** The facts of a model that is loaded. */
export function loadedFacts(model: LlamaModel, known: KnownFacts): ModelFacts {
    const created = Math.floor(Date.now() / 1000);
    return factsOf(model.fileInfo, { ...known, armt: model.armt, bytes: model.size, created });
}

function factsOf(
    info: GgufFileInfo,
    {
        id,
        description,
        armt,
        bytes,
        created
    }: KnownFacts & Pick<ModelFacts, "bytes" | "created"> & { armt?: ArmtModelInfo }
): ModelFacts {
    const { general, tokenizer } = info.metadata;
    const own: { readonly description?: unknown; readonly file_type?: number } = general;
    const vocabulary: string | undefined = tokenizer?.ggml?.model;
    return {
        id,
        created,
        bytes,
        description: description ?? (typeof own.description === "string" ? own.description : undefined),
        architecture: general.architecture,
        quantization: GgufFileType[own.file_type ?? -1]?.replace(/^(ALL|MOSTLY)_/, "") ?? "",
        // llama.cpp's words for a model of token ids alone
        hasTokenizer: vocabulary !== undefined && !["none", "no_vocab"].includes(vocabulary),
        contextLength: contextLengthOf(info),
        chatTemplate: tokenizer?.chat_template,
        sampling: samplingDefaults({ fileInfo: info }),
        armt
    };
}

function contextLengthOf({ architectureMetadata }: GgufFileInfo): number | undefined {
    const { context_length: length }: { readonly context_length?: unknown } = architectureMetadata;
    return typeof length === "number" ? length : undefined;
}
