import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { openGguf } from "../../src/gguf/reader.js";
import { openSafetensors } from "../../src/safetensors/reader.js";
import { type TensorData, writeSafetensors } from "../../src/safetensors/writer.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { temporaryFolder } from "../helpers/temporary.js";

// Layers of these families compute what a LLaMA's do, so the same weights have to become the same tensors.

type Config = Record<string, unknown>;

async function makeLlama(t: ExecutionContext): Promise<string> {
    const folder = path.join(temporaryFolder(t), "checkpoint");
    await makeTinyCheckpoint(folder, { layers: 2, segmentSize: 16, memTokens: 4, dtype: "F32" });
    return folder;
}

function editConfig(folder: string, edit: Config): void {
    const file = path.join(folder, "config.json");
    writeFileSync(file, JSON.stringify({ ...(JSON.parse(readFileSync(file, "utf8")) as Config), ...edit }));
}

async function convertedTensors(folder: string, name: string): Promise<[family: unknown, Map<string, Buffer>]> {
    const output = path.join(folder, "..", `${name}.gguf`);
    await convertCheckpoint({ checkpoint: folder, output, outType: "f32" });
    const file = await openGguf(output);
    const tensors = new Map<string, Buffer>();
    for (const tensor of file.tensors.keys()) tensors.set(tensor, await file.readTensor(tensor));
    const family = file.metadata.get("armt.base_architecture");
    await file.close();
    return [family && "value" in family ? family.value : undefined, tensors];
}

/** Joins the rows of matrices, as Phi-3 saves them. */
async function fuse(folder: string, groups: Record<string, string[]>): Promise<void> {
    const file = path.join(folder, "model.safetensors");
    const source = await openSafetensors(file);
    const parts = new Map(Object.entries(groups).flatMap(([name, members]) => members.map((m) => [m, name] as const)));
    const tensors: TensorData[] = [];
    for (const [name, { dtype, shape }] of source.tensors) {
        const part = [...parts.keys()].find((member) => name.includes(`.${member}.`));
        if (part === undefined) {
            const bytes = await source.read(name);
            tensors.push({ name, dtype, shape, data: only(bytes) });
            continue;
        }
        const group = parts.get(part)!;
        if (groups[group]![0] !== part) continue;
        const members = groups[group]!.map((member) => name.replace(`.${part}.`, `.${member}.`));
        const rows = members.reduce((sum, member) => sum + source.tensors.get(member)!.shape[0]!, 0);
        const bytes = Buffer.concat(await Promise.all(members.map((member) => source.read(member))));
        tensors.push({
            name: name.replace(`.${part}.`, `.${group}.`),
            dtype,
            shape: [rows, shape[1]!],
            data: only(bytes)
        });
    }
    await source.close();
    await writeSafetensors(file, tensors);
}

async function* only(bytes: Buffer): AsyncGenerator<Uint8Array> {
    yield bytes;
}

test("a Mistral becomes the tensors of the LLaMA with its weights", async (t) => {
    const folder = await makeLlama(t);
    const [, expected] = await convertedTensors(folder, "llama");
    editConfig(folder, { model_type: "mistral", sliding_window: 20 });
    const [family, tensors] = await convertedTensors(folder, "mistral");
    t.is(family, "mistral");
    t.deepEqual(tensors, expected);
});

test("a Phi-3 becomes the tensors of the LLaMA with its weights", async (t) => {
    const folder = await makeLlama(t);
    const [, expected] = await convertedTensors(folder, "llama");
    editConfig(folder, { model_type: "phi3", sliding_window: null });
    await fuse(folder, { qkv_proj: ["q_proj", "k_proj", "v_proj"], gate_up_proj: ["gate_proj", "up_proj"] });
    const [family, tensors] = await convertedTensors(folder, "phi3");
    t.is(family, "phi3");
    t.deepEqual(tensors, expected);
});

test("a window that a segment does not fit into is refused", async (t) => {
    const folder = await makeLlama(t);
    editConfig(folder, { model_type: "mistral", sliding_window: 19 });
    await t.throwsAsync(convertedTensors(folder, "mistral"), {
        message: /attends to 19 rows \(config\.json: `sliding_window`\), and a segment has 20 with its memory tokens/
    });
});

test("a Qwen2 without the biases that the family has is refused, whatever its window", async (t) => {
    const folder = await makeLlama(t);
    editConfig(folder, { model_type: "qwen2", sliding_window: 4, use_sliding_window: false });
    await t.throwsAsync(convertedTensors(folder, "qwen2"), { message: /q_proj\.bias/ });
});
