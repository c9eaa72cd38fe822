import path from "node:path";
import type { GgufWriteValue } from "../../formats/gguf/writer.js";
import { type JsonFile, readJsonFile } from "../../util/json-file.js";
import { byteLevelKeys, isByteLevel } from "./byte-level.js";
import { sentencePieceKeys } from "./sentencepiece.js";
import { specialTokenKeys } from "./special-tokens.js";
import { parseBpe } from "./vocabulary.js";

/**
 * The tokenizer of a checkpoint folder (`tokenizer.json` and the files next to it) as GGUF keys, padded to the model's
 * vocabulary.
 * @param pre llama.cpp's name of the pre-tokenizer; recognized from the file by default
 * @returns `undefined` when the folder has none
 * @throws {ArmtError} for tokenizers that llama.cpp can't reproduce
 */
export async function readTokenizer(
    folder: string,
    config: JsonFile,
    vocabSize: number,
    pre: string | undefined
): Promise<Map<string, GgufWriteValue> | undefined> {
    const json = await readJsonFile(path.join(folder, "tokenizer.json"));
    if (json === undefined) return undefined;
    const bpe = parseBpe(json, vocabSize);
    const keys = isByteLevel(json) ? byteLevelKeys(json, bpe, vocabSize, pre) : sentencePieceKeys(json, bpe, vocabSize);
    return new Map([...keys, ...(await specialTokenKeys(folder, json, bpe, config))]);
}
