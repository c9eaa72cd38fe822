import { createHash } from "node:crypto";
import type { GgufFile } from "../../formats/gguf/reader.js";
import { ArmtError, quote } from "../../util/errors.js";
import { decodeWeights } from "../decode-weights.js";
import { encodeFloats } from "../float-encode.js";

/** SHA-256 digests (hex) that all quantizations of a base model share (docs/memory-file.md). */
export type BaseFingerprint = {
    /** Of the tensors' names and shapes. */
    readonly tensors: string;
    /** Of the tokens' texts. */
    readonly vocabulary: string;
    /** Of the norms' weights, which no quantization changes and a fine-tune does. */
    readonly norms: string;
};

/** What a digest is of, for errors. */
export const fingerprintParts: Readonly<Record<keyof BaseFingerprint, string>> = {
    tensors: "names and shapes of the tensors",
    vocabulary: "the vocabulary",
    norms: "weights of the norms"
};

/** Computes the digests from a stock GGUF file. @throws {ArmtError} if it has no vocabulary or no embedding */
export async function baseFingerprint(file: GgufFile): Promise<BaseFingerprint> {
    return {
        tensors: tensorsDigest(file),
        vocabulary: await vocabularyDigest(file),
        norms: await normsDigest(file)
    };
}

function tensorsDigest(file: GgufFile): string {
    const hash = createHash("sha256");
    for (const name of sortedNames(file)) {
        if (name === "output.weight" || name.startsWith("rope_")) continue;
        hash.update(`${name} ${file.tensors.get(name)!.shape.join(" ")}\n`);
    }
    return hash.digest("hex");
}

async function vocabularyDigest(file: GgufFile): Promise<string> {
    const key = "tokenizer.ggml.tokens";
    const entry = file.metadata.get(key);
    const rows = file.tensors.get("token_embd.weight")?.shape[1];
    if (entry?.type !== "ARRAY" || entry.elementType !== "STRING" || rows === undefined)
        throw new ArmtError(`${quote(file.path)} has no \`${key}\`, by which a memory knows its base`);
    const tokens = (await file.readArray(key, rows)).map(String);
    while (tokens.length > 0 && tokens.at(-1) === `[PAD${tokens.length - 1}]`) tokens.pop();
    const hash = createHash("sha256");
    for (const token of tokens) hash.update(`${token.replaceAll("\u2581", " ")}\0`);
    return hash.digest("hex");
}

async function normsDigest(file: GgufFile): Promise<string> {
    const hash = createHash("sha256");
    for (const name of sortedNames(file)) {
        const { shape, type } = file.tensors.get(name)!;
        if (shape.length !== 1 || !name.includes("norm") || !name.endsWith(".weight")) continue;
        hash.update(`${name}\0`);
        hash.update(encodeFloats(await decodeWeights(await file.readTensor(name), type.name), "F32")!);
    }
    return hash.digest("hex");
}

function sortedNames(file: GgufFile): string[] {
    return [...file.tensors.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}
