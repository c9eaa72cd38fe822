import { createHash } from "node:crypto";
import { cpSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import type { ExecutionContext } from "ava";
import { encodeFloats, type TargetType } from "../../src/convert/float-encode.js";
import { openGguf } from "../../src/formats/gguf/reader.js";
import type { GgmlType } from "../../src/formats/gguf/types.js";
import { type GgufTensorData, stringArray, writeGguf } from "../../src/formats/gguf/writer.js";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { type TensorData, writeSafetensors } from "../../src/formats/safetensors/writer.js";
import type { TinyOptions } from "../../src/tiny/options.js";
import { decodeNumbers } from "./decode-numbers.js";
import { rewriteCheckpoint } from "./rewrite-checkpoint.js";
import { type StockOptions, writeStock } from "./stock-gguf.js";
import { temporaryFolder } from "./temporary.js";
import { makeTiny } from "./tiny-checkpoint.js";

type Json = Record<string, unknown>;

const [rank, alpha] = [2, 4];

export interface Trained {
    /** Stock file of the base. */
    readonly base: string;
    /** The memory's file. */
    readonly memory: string;
    /** The same as a whole checkpoint, LoRA added to its weights in float64. */
    readonly merged: string;
    /** `armt_memory` of the memory's file. */
    readonly about: Json;
}

export interface TrainedOptions extends StockOptions {
    readonly tiny?: TinyOptions;
    /** Modules with LoRA. */
    readonly modules: readonly string[];
    /** Default: safetensors. */
    readonly container?: "safetensors" | "gguf";
    /** Changes `armt_memory`. */
    readonly edit?: (about: Json) => Json;
}

/** Makes what a trainer would, by docs/memory-file.md, for a small base with random weights. */
export async function makeTrained(t: ExecutionContext, options: TrainedOptions): Promise<Trained> {
    const { tiny = {}, modules, container = "safetensors", edit = (about) => about, ...stock } = options;
    const folder = await makeTiny(t, tiny);
    const to = temporaryFolder(t);
    const merged = path.join(to, "merged");
    cpSync(folder, merged, { recursive: true });
    const lora: TensorData[] = [];
    await rewriteCheckpoint(merged, (tensor) => {
        const [, layer, module] = /model\.layers\.(\d+)\.layer\.(.+)\.weight$/.exec(tensor.name) ?? [];
        if (layer === undefined || module === undefined || !modules.includes(module)) return [tensor];
        const [rows = 0, columns = 0] = tensor.shape;
        const a = randomNumbers(rank * columns, `${layer}${module}A`);
        const b = randomNumbers(rows * rank, `${layer}${module}B`);
        const weights = decodeNumbers(tensor.dtype, tensor.data);
        const sums = Float64Array.from({ length: rows * columns }, (_, i) => {
            const [row, column] = [Math.floor(i / columns), i % columns];
            let sum = weights[i]!;
            for (let k = 0; k < rank; k++) sum += (alpha / rank) * b[row * rank + k]! * a[k * columns + column]!;
            return sum;
        });
        const prefix = `layers.${layer}.layer.${module}`;
        if (lora.every(({ name }) => name !== `${prefix}.lora_A.weight`))
            lora.push(
                { name: `${prefix}.lora_A.weight`, dtype: "F32", shape: [rank, columns], data: a },
                { name: `${prefix}.lora_B.weight`, dtype: "F32", shape: [rows, rank], data: b }
            );
        return [{ ...tensor, dtype: "F64", data: sums }];
    });
    const tokens = Array.from({ length: 40 }, (_, i) => (i < 38 ? `\u2581t${i}` : `[PAD${i}]`));
    const files = await writeStock(folder, to, {
        ...stock,
        keys: {
            "tokenizer.ggml.model": { type: "STRING", value: "no_vocab" },
            "tokenizer.ggml.tokens": stringArray(tokens),
            ...stock.keys
        }
    });
    const about: Json = edit({
        format_version: 1,
        base: {
            name: "Tiny",
            license: "mit",
            architecture: "llama",
            layers: 3,
            width: 32,
            vocabulary_size: 40,
            fingerprint: await fingerprintOf(files.base, tokens)
        },
        lora: modules.length === 0 ? null : { r: rank, alpha },
        ask: { chat: true, close: false, greedy: true, before: "Q: ", after: null, end: ["</s>"] },
        training: { steps: 2 }
    });
    const config = await armtConfigOf(folder);
    const metadata = { format: "pt", armt_config: config, armt_memory: JSON.stringify(about) };
    const source = await openSafetensors(files.memory);
    const tensors = [...lora];
    for (const [name, { dtype, shape }] of source.tensors)
        tensors.push({
            name: name.replace(/^memory_cell\.(?:model\.model\.)?/, ""),
            dtype,
            shape,
            data: await source.read(name)
        });
    await source.close();
    const memory = path.join(to, container === "gguf" ? "memory.gguf" : "memory.safetensors");
    if (container === "gguf") await writeMemoryGguf(memory, tensors, metadata);
    else await writeSafetensors(memory, tensors, metadata);
    return { base: files.base, memory, merged, about };
}

/** Matrices in q8_0 where their rows are long enough, as the trainer stores them. */
async function writeMemoryGguf(
    file: string,
    tensors: readonly TensorData[],
    { armt_config, armt_memory }: { armt_config: string; armt_memory: string }
): Promise<void> {
    const data = tensors.map(({ name, dtype, shape, data: bytes }): GgufTensorData => {
        const view = bytes as ArrayBufferView;
        const buffer = Buffer.from(view.buffer, view.byteOffset, view.byteLength);
        const values = Float32Array.from(decodeNumbers(dtype, buffer));
        // a factor B, whose rows are short, is one row
        const isFlat = name.endsWith(".lora_B.weight");
        const columns = isFlat ? values.length : shape.at(-1)!;
        const isWide = name === "memory" || name.includes("W_mb") || columns % 32 !== 0;
        const type: TargetType & GgmlType = name.endsWith("bias") ? "F32" : isWide ? "F16" : "Q8_0";
        return {
            name,
            type,
            shape: isFlat ? [values.length] : shape.toReversed(),
            data: async function* () {
                yield encodeFloats(values, type)!;
            }
        };
    });
    const text = (value: string) => ({ type: "STRING", value }) as const;
    const metadata = new Map([
        ["general.architecture", text("armt-memory")],
        ["general.type", text("adapter")],
        ["armt_config", text(armt_config)],
        ["armt_memory", text(armt_memory)]
    ]);
    await writeGguf(file, { metadata, tensors: data });
}

/** The three digests by their definition in docs/memory-file.md. */
async function fingerprintOf(base: string, tokens: readonly string[]): Promise<Json> {
    const file = await openGguf(base);
    const names = [...file.tensors.keys()].sort();
    const lines = names
        .filter((name) => name !== "output.weight" && !name.startsWith("rope_"))
        .map((name) => `${name} ${file.tensors.get(name)!.shape.join(" ")}\n`);
    const texts = tokens.slice(0, 38).map((token) => `${token.replace("\u2581", " ")}\0`);
    const norms: Buffer[] = [];
    for (const name of names)
        if (name.includes("norm") && name.endsWith(".weight"))
            norms.push(Buffer.from(`${name}\0`), await file.readTensor(name));
    await file.close();
    const digest = (bytes: string | Buffer) => createHash("sha256").update(bytes).digest("hex");
    return {
        tensors: digest(lines.join("")),
        vocabulary: digest(texts.join("")),
        norms: digest(Buffer.concat(norms))
    };
}

async function armtConfigOf(folder: string): Promise<string> {
    return await readFile(path.join(folder, "armt_config.json"), "utf8");
}

/** Numbers from -0.1 to 0.1 that depend on a text alone. */
function randomNumbers(count: number, seed: string): Float32Array {
    let state = [...seed].reduce((sum, letter) => (Math.imul(sum, 31) + letter.charCodeAt(0)) >>> 0, 7);
    return Float32Array.from({ length: count }, () => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        return 0.2 * (state / 2 ** 32 - 0.5);
    });
}
