import type { ArmtFlags, ArmtHints } from "../convert/armt-config.js";
import { parseArmtConfig } from "../convert/armt-config.js";
import { type BaseGguf, readBaseGguf } from "../convert/attach/base-gguf.js";
import { GgufTensorFile } from "../convert/attach/gguf-tensor-file.js";
import { openMemoryFile } from "../convert/attach/memory-file.js";
import { memoryHints } from "../convert/attach/memory-tensors.js";
import type { SourceTensor } from "../convert/checkpoint.js";
import { families } from "../convert/families.js";
import type { LoraFlags } from "../convert/lora/lora.js";
import type { TensorFile } from "../convert/shards.js";
import { openGguf } from "../formats/gguf/reader.js";
import type { TensorInfo } from "../formats/safetensors/reader.js";
import type { ReadRange } from "../formats/tensor-range.js";
import { ArmtError, quote } from "../util/errors.js";
import type { PlainSource } from "./plain-model.js";

export type PartsOptions = {
    /** Stock GGUF file. */
    base: string;
    /** ARMT's tensors, and LoRA of the base. */
    memory: string;
    flags?: ArmtFlags;
    lora?: LoraFlags;
    hints?: ArmtHints;
};

/** What `armt attach` puts together, as a checkpoint with LoRA that stays apart. */
export type OpenParts = PlainSource & {
    weights: { close(): Promise<void> };
};

/**
 * @throws {ArmtError} that names the file or tensor at fault, or what the plain model doesn't compute from such files
 */
export async function openParts(options: PartsOptions): Promise<OpenParts> {
    const memory = await openMemoryFile(options.memory, options.lora);
    try {
        const file = await openGguf(options.base);
        try {
            const source = readBaseGguf(file);
            const tensors = new Map(memory.weights.tensors);
            for (const [name, tensor] of checkpointTensors(source))
                tensors.set(name, { ...tensor, lora: memory.weights.adapters.get(name) });
            for (const [name, { a }] of memory.weights.adapters)
                if (!tensors.has(name))
                    throw new ArmtError(`tensor ${quote(a.name)} is LoRA of a module the base lacks`);
            const hints = { ...options.hints, ...memoryHints(memory.weights, source.base) };
            const armt = parseArmtConfig(memory.numbers, options.flags ?? {}, hints);
            const close = async () => {
                await file.close();
                await memory.weights.close();
            };
            return { base: source.base, armt, tensors, weights: { close } };
        } catch (error) {
            await file.close();
            throw error;
        }
    } catch (error) {
        await memory.weights.close();
        throw error;
    }
}

/** A stock file's tensors under the names of its family's checkpoints. */
function checkpointTensors(source: BaseGguf): Map<string, SourceTensor> {
    const { file, architecture, base } = source;
    const family = families[architecture.family];
    const { names } = family;
    const refuse = (what: string) =>
        new ArmtError(`cannot compare with ${quote(file.path)}: ${what}; compare with a whole checkpoint`);
    if (family.transposed || names.interleaved === true)
        throw refuse(`the matrices of a ${source.name} have another order there than in a checkpoint`);
    if (file.tensors.has("rope_freqs.weight")) throw refuse("its RoPE has factors that only a checkpoint explains");
    const modules: Readonly<Record<string, string | undefined>> = {
        attn_norm: names.attentionNorm,
        attn_q: names.qkv[0],
        attn_k: names.qkv[1],
        attn_v: names.qkv[2],
        attn_qkv: names.qkv[0],
        attn_q_norm: names.queryNorm,
        attn_k_norm: names.keyNorm,
        attn_output: names.attentionOutput,
        post_attention_norm: names.attentionPostNorm,
        ffn_norm: names.feedForwardNorm,
        post_ffw_norm: names.feedForwardPostNorm,
        ffn_gate: names.up[0],
        ffn_up: names.up.at(-1),
        ffn_down: names.down
    };
    const singles: Readonly<Record<string, string>> = {
        token_embd: names.embedding,
        output_norm: names.outputNorm,
        output: names.output
    };
    const view = new CheckpointView(file.path, new GgufTensorFile(file), (name) => {
        const [, kind] = /^blk\.\d+\.(.+)\.(?:weight|bias)$/.exec(name) ?? [];
        const turned = architecture.neighbours === true && (kind === "attn_q" || kind === "attn_k");
        return { headSize: turned ? base.headSize : undefined, lessOne: family.normsLessOne && /norm/.test(name) };
    });
    const tensors = new Map<string, SourceTensor>();
    for (const [name, info] of view.tensors) {
        const [, layer, kind = "", suffix] = /^(?:blk\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name) ?? [];
        const module = layer === undefined ? singles[kind] : modules[kind];
        if (module === undefined) throw refuse(`its tensor ${quote(name)} is not known`);
        const canonical = `${layer === undefined ? "" : `layers.${layer}.layer.`}${module}.${suffix}`;
        tensors.set(canonical, { ...info, name, file: view });
    }
    return tensors;
}

type Conversion = { headSize: number | undefined; lessOne: boolean };

/** A stock file's tensors with the rows and values that a checkpoint has. */
class CheckpointView implements TensorFile {
    constructor(
        readonly path: string,
        private readonly file: GgufTensorFile,
        private readonly conversionOf: (name: string) => Conversion
    ) {}

    get tensors(): ReadonlyMap<string, TensorInfo> {
        return this.file.tensors;
    }

    async read(name: string, range: ReadRange = {}): Promise<Buffer> {
        const { headSize, lessOne } = this.conversionOf(name);
        if (headSize === undefined && !lessOne) return this.file.read(name, range);
        const { shape, byteLength, dtype } = this.file.tensors.get(name)!;
        let bytes = await this.file.read(name);
        if (headSize !== undefined) bytes = halves(bytes, byteLength / shape[0]!, headSize);
        if (lessOne && dtype === "F32") {
            bytes = Buffer.from(bytes);
            for (let at = 0; at < byteLength; at += 4) bytes.writeFloatLE(bytes.readFloatLE(at) - 1, at);
        }
        return bytes.subarray(range.start ?? 0, range.end ?? byteLength);
    }

    close(): Promise<void> {
        return this.file.close();
    }
}

/** Rows of each head: those of even number, then those of odd number. */
function halves(bytes: Buffer, rowBytes: number, size: number): Buffer {
    const rows = Array.from({ length: bytes.byteLength / rowBytes }, (_, row) => {
        const [head, inHead] = [Math.floor(row / size), row % size];
        const half = size / 2;
        const from = head * size + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1);
        return bytes.subarray(from * rowBytes, (from + 1) * rowBytes);
    });
    return Buffer.concat(rows);
}
