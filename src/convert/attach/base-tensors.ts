import type { GgufFile } from "../../formats/gguf/reader.js";
import type { GgmlType, GgufTensorInfo } from "../../formats/gguf/types.js";
import type { GgufTensorData } from "../../formats/gguf/writer.js";
import { ArmtError, quote } from "../../util/errors.js";
import { families } from "../families.js";
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

type Options = { onBytes?: (count: number) => void; signal?: AbortSignal };

/**
 * The base's tensors in the ARMT file's order: rows of a stack over layers, each row with the bytes that it has in the
 * stock file.
 * @throws {ArmtError} that names a tensor that is missing, unknown, misshapen, or of another type than those it is put
 * together with
 */
export function planBaseTensors(source: BaseGguf, options: Options): GgufTensorData[] {
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
        const data = () => bytes(file, [{ name, start: 0, end: tensor.byteLength }], options);
        tensors.push({ name, type: tensor.type.name, shape, data });
    }
    for (const kind of kindsOf(source)) tensors.push(...planStacks(source, kind, used, options));
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
    options: Options
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
            return [{ name: tensorName, start: 0, end: tensor.byteLength, rowBytes, headSize: part.headSize }, tensor];
        });
        const [first] = pieces as [[Piece, GgufTensorInfo]];
        const type = first[1].type.name;
        for (const [piece, tensor] of pieces)
            if (tensor.type.name !== type)
                throw failure(
                    file,
                    `its tensors ${quote(first[0].name)} (${type}) and ${quote(piece.name)} (${tensor.type.name}) ` +
                        "become one, and have two types, as in files of llama.cpp's mixtures (Q4_K_M, …): attach to " +
                        "an f16, bf16 or q8_0 file of the same base, then use armt quantize"
                );
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
        data: () => bytes(file, pieces, options)
    }));
}

/** Bytes of a stock tensor. */
interface Piece {
    readonly name: string;
    readonly start: number;
    readonly end: number;
    readonly rowBytes?: number;
    readonly headSize?: number;
}

async function* bytes(
    file: GgufFile,
    pieces: readonly Piece[],
    { onBytes, signal }: Options
): AsyncGenerator<Uint8Array, void, void> {
    for (const { name, start, end, rowBytes = 1, headSize } of pieces) {
        const head = (headSize ?? 1) * rowBytes;
        const step = Math.max(1, Math.floor(READ_BYTES / head)) * head;
        for (let at = start; at < end; at += step) {
            signal?.throwIfAborted();
            const read = await file.readTensor(name, at, Math.min(at + step, end));
            yield headSize === undefined ? read : splitNeighbours(read, rowBytes, headSize);
            onBytes?.(read.byteLength);
        }
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
