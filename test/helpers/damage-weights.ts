import { readFileSync, writeFileSync } from "node:fs";
import { openGguf } from "../../src/formats/gguf/reader.js";

/** Writes `value` over all numbers of a token's embedding in a model file of float32. */
export async function fillEmbedding(file: string, token: number, value: number): Promise<void> {
    const gguf = await openGguf(file);
    const { offset, shape } = gguf.tensors.get("token_embd.weight")!;
    await gguf.close();
    const row = shape[0]!;
    const bytes = readFileSync(file);
    for (let i = 0; i < row; i++) bytes.writeFloatLE(value, offset + 4 * (token * row + i));
    writeFileSync(file, bytes);
}
