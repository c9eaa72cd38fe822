import type { GgufFile } from "../../formats/gguf/reader.js";
import type { GgmlType, GgufTensorInfo } from "../../formats/gguf/types.js";
import type { GgufTensorData } from "../../formats/gguf/writer.js";
import { ArmtError, quote } from "../../util/errors.js";
import type { SourceTensor } from "../checkpoint.js";
import { decodeWeights } from "../decode-weights.js";
import { families } from "../families.js";
import { findNonFinite } from "../float-decode.js";
import { encodeFloats, Q8_0_BLOCK, type TargetType } from "../float-encode.js";
import { addUpdate, type LoraUpdate } from "../lora/lora.js";
import { readFloats } from "../stream.js";
import type { BaseGguf } from "./base-gguf.js";

/** Bytes read at once. */
const READ_BYTES = 8 * 2 ** 20;

/** A stock tensor of one layer that becomes rows of a stack. */
interface Part {
    readonly kind: string;
    /** Rows of a matrix, or elements of a vector. */
    readonly rows: number;
    /** Size of a head whose neighbours become halves again. */
    readonly headSize?: number;
}

interface Kind {
    /** In the ARMT file, without `blk.N.` */
    readonly name: string;
    readonly parts: readonly Part[];
    /** Length of a matrix's rows; `undefined`: vectors. */
    readonly columns?: number;
    readonly optional?: boolean;
}

/** Types that tensors can be put into. */
export const mergedTypes = { f32: "F32", f16: "F16", bf16: "BF16", q8_0: "Q8_0" } as const;
export type MergedType = keyof typeof mergedTypes;

export type BaseTensorOptions = {
    /** What LoRA adds, by the stock tensor's name. */
    lora?: ReadonlyMap<string, LoraUpdate<SourceTensor>>;
    /**
     * Type for matrices that LoRA changes, and for parts of one matrix that have several types. Default: their own
     * type if they have one of `mergedTypes`, F32 for several float types, else Q8_0, or F16 for rows that are no whole
     * number of its blocks.
     */
    mergedType?: MergedType;
    onBytes?: (count: number) => void;
    signal?: AbortSignal;
};

/**
 * The base's tensors in the ARMT file's order: rows of a stack over layers. Rows keep the bytes that they have in the
 * stock file, unless LoRA changes the matrix or its parts have several types.
 * @throws {ArmtError} that names a tensor that is missing, unknown or misshapen
 */
export function planBaseTensors(source: BaseGguf, options: BaseTensorOptions): GgufTensorData[] {
    const { file, base } = source;
    const used = new Set<string>();
    const tensors: GgufTensorData[] = [];
    const { hiddenSize: d, vocabSize } = base;
    const isLayerNorm = families[base.architecture].norm === "layer";
    const singles: readonly [name: string, shape: readonly number[], optional: boolean][] = [
        ["token_embd.weight", [d, vocabSize], false],
        ["output_norm.weight", [d], false],
        ["output_norm.bias", [d], !isLayerNorm],
        ["output.weight", [d, vocabSize], true],
        ["position_embd.weight", [d, base.positionCount ?? 0], base.positionCount === undefined],
        ["rope_freqs.weight", [(base.rope?.dimensions ?? 0) / 2], true]
    ];
    for (const [name, shape, optional] of singles) {
        const tensor = find(file, name, shape, optional);
        if (tensor === undefined) continue;
        used.add(name);
        const data = () => bytes(file, [{ name, start: 0, end: tensor.byteLength }], tensor.type.name, options);
        tensors.push({ name, type: tensor.type.name, shape, data });
    }
    for (const kind of kindsOf(source)) tensors.push(...planStacks(source, kind, used, options));
    for (const [name, { a }] of options.lora ?? [])
        if (!used.has(name))
            throw failure(file, `it has no matrix ${quote(name)} for the LoRA of tensor ${quote(a.name)}`);
    for (const name of file.tensors.keys())
        if (!used.has(name)) throw failure(file, `its tensor ${quote(name)} has no place in an ARMT model of its kind`);
    return tensors;
}

function kindsOf({ base, architecture }: BaseGguf): Kind[] {
    const { hiddenSize: d, feedForwardSize: f, headCount, kvHeadCount, headSize } = base;
    const family = families[base.architecture];
    const [queries, keys] = [headCount * headSize, kvHeadCount * headSize];
    const rotaryHeadSize = architecture.neighbours === true ? headSize : undefined;
    const qkv: Part[] =
        architecture.fusedAttention === true
            ? [{ kind: "attn_qkv", rows: queries + 2 * keys }]
            : [
                  { kind: "attn_q", rows: queries, headSize: rotaryHeadSize },
                  { kind: "attn_k", rows: keys, headSize: rotaryHeadSize },
                  { kind: "attn_v", rows: keys }
              ];
    const up: Part[] =
        architecture.fusedUp === true
            ? [{ kind: "ffn_up", rows: family.gated ? 2 * f : f }]
            : [
                  { kind: "ffn_gate", rows: f },
                  { kind: "ffn_up", rows: f }
              ];
    const matrix = (name: string, parts: readonly Part[], columns: number): Kind[] => [
        { name: `${name}.weight`, parts, columns },
        { name: `${name}.bias`, parts, optional: true }
    ];
    const norm = (name: string, size: number, isThere: boolean): Kind[] =>
        isThere
            ? [
                  { name: `${name}.weight`, parts: [{ kind: name, rows: size }] },
                  ...(family.norm === "layer" ? [{ name: `${name}.bias`, parts: [{ kind: name, rows: size }] }] : [])
              ]
            : [];
    const { names } = family;
    return [
        ...norm("attn_norm", d, true),
        ...matrix("attn_qkv", qkv, d),
        ...norm("attn_q_norm", headSize, names.queryNorm !== undefined),
        ...norm("attn_k_norm", headSize, names.keyNorm !== undefined),
        ...matrix("attn_output", [{ kind: "attn_output", rows: d }], queries),
        ...norm("post_attention_norm", d, names.attentionPostNorm !== undefined),
        ...norm("ffn_norm", d, true),
        ...norm("post_ffw_norm", d, names.feedForwardPostNorm !== undefined),
        ...matrix("ffn_up", up, d),
        ...matrix("ffn_down", [{ kind: "ffn_down", rows: d }], f)
    ];
}

/** One stack for each run of layers with one type. */
function planStacks(
    { file, base }: BaseGguf,
    { name, parts, columns, optional }: Kind,
    used: Set<string>,
    options: BaseTensorOptions
): GgufTensorData[] {
    const suffix = name.slice(name.lastIndexOf("."));
    const stacks: { first: number; type: GgmlType; pieces: Piece[] }[] = [];
    for (let layer = 0; layer < base.layerCount; layer++) {
        const isThere = parts.some(({ kind }) => file.tensors.has(`blk.${layer}.${kind}${suffix}`));
        if (optional === true && !isThere) continue;
        const pieces = parts.map((part): [Piece, GgufTensorInfo] => {
            const tensorName = `blk.${layer}.${part.kind}${suffix}`;
            const shape = columns === undefined ? [part.rows] : [columns, part.rows];
            const tensor = find(file, tensorName, shape, false)!;
            used.add(tensorName);
            if (columns === undefined && tensor.type.name !== "F32")
                throw failure(file, `its tensor ${quote(tensorName)} is ${tensor.type.name}, expected F32`);
            const rowBytes = tensor.byteLength / part.rows;
            const lora = options.lora?.get(tensorName);
            if (lora !== undefined) checkUpdate(lora, tensorName, [part.rows, columns ?? 1]);
            const rows = { rowBytes, headSize: part.headSize, columns };
            return [{ name: tensorName, start: 0, end: tensor.byteLength, ...rows, lora }, tensor];
        });
        const type = commonType(pieces, columns, options.mergedType);
        const last = stacks.at(-1);
        if (last !== undefined && last.type === type) last.pieces.push(...pieces.map(([piece]) => piece));
        else stacks.push({ first: layer, type, pieces: pieces.map(([piece]) => piece) });
    }
    const perLayer = parts.length;
    const layersWith = stacks.reduce((sum, { pieces }) => sum + pieces.length / perLayer, 0);
    if (layersWith > 0 && layersWith < base.layerCount)
        throw failure(file, `only ${layersWith} of its ${base.layerCount} layers have a tensor ${quote(name)}`);
    const rows = parts.reduce((sum, part) => sum + part.rows, 0);
    return stacks.map(({ first, type, pieces }) => ({
        name: `blk.${first}.${name}`,
        type,
        shape: [...(columns === undefined ? [] : [columns]), rows, pieces.length / perLayer],
        data: () => bytes(file, pieces, type, options)
    }));
}

/** The type for the parts of a layer's matrix. */
function commonType(
    parts: readonly (readonly [Piece, GgufTensorInfo])[],
    columns: number | undefined,
    wanted: MergedType | undefined
): GgmlType {
    const types = new Set(parts.map(([, { type }]) => type.name));
    const [first] = types as Iterable<GgmlType> as [GgmlType];
    if (types.size === 1 && parts.every(([{ lora }]) => lora === undefined)) return first;
    const fits = columns !== undefined && columns % Q8_0_BLOCK === 0;
    if (wanted !== undefined) return wanted === "q8_0" && !fits ? "F16" : mergedTypes[wanted];
    if (![...types].every((type) => type === "F32" || type === "F16" || type === "BF16")) return fits ? "Q8_0" : "F16";
    return types.size === 1 ? first : "F32";
}

function checkUpdate(
    { a, b }: LoraUpdate<SourceTensor>,
    name: string,
    [rows, columns]: readonly [rows: number, columns: number]
): void {
    if (b.shape[0] === rows && a.shape[1] === columns) return;
    throw new ArmtError(
        `tensors ${quote(b.name)} [${b.shape.join(", ")}] and ${quote(a.name)} [${a.shape.join(", ")}] ` +
            `do not fit the base's tensor ${quote(name)}, which has ${rows} rows of ${columns}`
    );
}

/** Bytes of a stock tensor. */
interface Piece {
    readonly name: string;
    readonly start: number;
    readonly end: number;
    readonly rowBytes?: number;
    readonly headSize?: number;
    readonly columns?: number;
    readonly lora?: LoraUpdate<SourceTensor>;
}

async function* bytes(
    file: GgufFile,
    pieces: readonly Piece[],
    target: GgmlType,
    { onBytes, signal }: BaseTensorOptions
): AsyncGenerator<Uint8Array, void, void> {
    for (const { name, start, end, rowBytes = 1, headSize, columns = 1, lora } of pieces) {
        const { type } = file.tensors.get(name)!;
        const change =
            type.name === target && lora === undefined ? undefined : await RowChange.of(name, lora, columns, target);
        const head = (headSize ?? 1) * rowBytes;
        const step = Math.max(1, Math.floor(READ_BYTES / head)) * head;
        for (let at = start; at < end; at += step) {
            signal?.throwIfAborted();
            const read = await file.readTensor(name, at, Math.min(at + step, end));
            const rows = headSize === undefined ? read : splitNeighbours(read, rowBytes, headSize);
            yield change === undefined ? rows : await change.apply(rows, type.name, (at - start) / rowBytes);
            onBytes?.(read.byteLength);
        }
    }
}

/** Puts rows of a matrix into another type, with what LoRA adds to them. */
class RowChange {
    private constructor(
        private readonly name: string,
        private readonly columns: number,
        private readonly target: TargetType,
        private readonly update: { lora: LoraUpdate<SourceTensor>; a: Float32Array; b: Float32Array } | undefined
    ) {}

    static async of(
        name: string,
        lora: LoraUpdate<SourceTensor> | undefined,
        columns: number,
        target: GgmlType
    ): Promise<RowChange> {
        const update = lora && { lora, a: await readFloats(lora.a), b: await readFloats(lora.b) };
        return new RowChange(name, columns, target as TargetType, update);
    }

    /** @param first index of the first row in its matrix, whose rows are in the order of the checkpoint */
    async apply(rows: Buffer, type: GgmlType, first: number): Promise<Uint8Array> {
        const { name, columns, target, update } = this;
        let values: Float32Array;
        try {
            values = await decodeWeights(rows, type);
        } catch (error) {
            throw new ArmtError(`tensor ${quote(name)}: ${error instanceof Error ? error.message : String(error)}`, {
                cause: error
            });
        }
        if (update !== undefined)
            values = addUpdate(values, { first: first * columns, columns }, update.lora, update.a, update.b);
        if (findNonFinite(values) >= 0) throw new ArmtError(`tensor ${quote(name)} has values that are not finite`);
        const encoded = encodeFloats(values, target);
        if (encoded === undefined)
            throw new ArmtError(
                `tensor ${quote(name)} has values beyond the range of ${target}; use --merged-type bf16 or f32`
            );
        return encoded;
    }
}

/** Rows 2i and 2i + 1 of each head go to i and i + size / 2, where they were before the stock file was made. */
function splitNeighbours(rows: Buffer, rowBytes: number, size: number): Buffer {
    const result = Buffer.alloc(rows.length);
    const half = size / 2;
    for (let row = 0; row * rowBytes < rows.length; row++) {
        const inHead = row % size;
        const target = row - inHead + (inHead % 2) * half + Math.floor(inHead / 2);
        rows.copy(result, target * rowBytes, row * rowBytes, (row + 1) * rowBytes);
    }
    return result;
}

function find(file: GgufFile, name: string, shape: readonly number[], optional: boolean): GgufTensorInfo | undefined {
    const tensor = file.tensors.get(name);
    if (tensor === undefined) {
        if (optional) return undefined;
        throw failure(file, `it has no tensor ${quote(name)}`);
    }
    if (tensor.shape.join() !== shape.join())
        throw failure(
            file,
            `its tensor ${quote(name)} is [${tensor.shape.join(", ")}], expected [${shape.join(", ")}] by its keys`
        );
    return tensor;
}

function failure(file: GgufFile, what: string): ArmtError {
    return new ArmtError(`cannot attach to ${quote(file.path)}: ${what}`);
}
