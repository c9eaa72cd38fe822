import { openGguf } from "../../formats/gguf/reader.js";
import type { GgufArrayData, GgufArrayRef } from "../../formats/gguf/types.js";
import { type GgufWriteValue, numberArray, stringArray } from "../../formats/gguf/writer.js";
import { ArmtError, quote } from "../../util/errors.js";
import { paddingToken } from "./vocabulary.js";

const TOKENS = "tokenizer.ggml.tokens";
const SCORES = "tokenizer.ggml.scores";
const TYPES = "tokenizer.ggml.token_type";

/**
 * Copies the tokenizer of a GGUF file and pads it to the model's vocabulary.
 * @throws {ArmtError} if the file has no tokenizer, or one with more tokens than the model has rows
 */
export async function copyTokenizer(path: string, vocabSize: number): Promise<Map<string, GgufWriteValue>> {
    const gguf = await openGguf(path);
    try {
        const tokens = gguf.metadata.get(TOKENS);
        if (tokens?.type !== "ARRAY" || tokens.elementType !== "STRING" || !gguf.metadata.has("tokenizer.ggml.model"))
            throw new ArmtError(`${quote(path)} has no tokenizer`);
        if (tokens.count > vocabSize)
            throw new ArmtError(
                `the tokenizer of ${quote(path)} has ${tokens.count} tokens, the model ${vocabSize} rows`
            );
        const keys = new Map<string, GgufWriteValue>();
        for (const [key, value] of gguf.metadata) {
            if (!key.startsWith("tokenizer.")) continue;
            if (value.type !== "ARRAY") keys.set(key, value);
            else
                keys.set(
                    key,
                    concatenate(value, await gguf.readArrayBytes(key), padding(key, value, tokens.count, vocabSize))
                );
        }
        return keys;
    } finally {
        await gguf.close();
    }
}

/** The missing entries of an array that has one entry per token. */
function padding(key: string, array: GgufArrayRef, from: number, to: number): GgufArrayData | undefined {
    if (key !== TOKENS && key !== SCORES && key !== TYPES) return undefined;
    const tokens = Array.from({ length: to - from }, (_, i) => paddingToken(from + i));
    if (array.count !== from) throw new ArmtError(`key ${quote(key)} has ${array.count} entries, expected ${from}`);
    if (key === TOKENS) return stringArray(tokens.map(({ text }) => text));
    if (array.elementType !== "FLOAT32" && array.elementType !== "INT32")
        throw new ArmtError(`key ${quote(key)} is an array of ${array.elementType}`);
    return numberArray(
        array.elementType,
        tokens.map(({ type, score }) => (key === TYPES ? type : score))
    );
}

function concatenate(array: GgufArrayRef, bytes: Buffer, more: GgufArrayData | undefined): GgufArrayData {
    return {
        type: "ARRAY",
        elementType: array.elementType,
        count: array.count + (more?.count ?? 0),
        bytes: more === undefined ? bytes : Buffer.concat([bytes, more.bytes])
    };
}
