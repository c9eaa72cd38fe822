import path from "node:path";
import type { GgufWriteValue } from "../../formats/gguf/writer.js";
import { readJsonFile } from "../../formats/text/read-json-file.js";
import type { JsonFile } from "../../util/json-file.js";
import { byteLevelKeys, isByteLevel } from "./byte-level.js";
import { sentencePieceKeys } from "./sentencepiece.js";
import { specialTokenKeys } from "./special-tokens.js";
import { TokenConfig } from "./token-files.js";
import { checkTokenizer, strippedAsPhi3 } from "./unsupported.js";
import { parseBpe } from "./vocabulary.js";

export type TokenizerOptions = { pre?: string; name?: string };

/**
 * Reads the tokenizer of a checkpoint folder (`tokenizer.json` and the files next to it) as GGUF keys, padded to the
 * model's vocabulary.
 * @param options.pre llama.cpp's name of the pre-tokenizer. Default: detected from the file.
 * @param options.name the model's name; it becomes one of the keys if llama.cpp needs it to tokenize
 * @returns `undefined` if the folder has no tokenizer
 * @throws {ArmtError} for tokenizers that llama.cpp cannot reproduce
 */
export async function readTokenizer(
    folder: string,
    config: JsonFile,
    vocabSize: number,
    { pre, name }: TokenizerOptions = {}
): Promise<Map<string, GgufWriteValue> | undefined> {
    const json = await readJsonFile(path.join(folder, "tokenizer.json"));
    if (json === undefined) return undefined;
    const bpe = parseBpe(json, vocabSize);
    const own = await TokenConfig.read(folder);
    own.checkAdded(bpe.added);
    own.addNamed(bpe);
    const byteLevel = isByteLevel(json);
    const normalizer = checkTokenizer(json, bpe, byteLevel);
    const keys = byteLevel ? byteLevelKeys(json, bpe, vocabSize, pre) : sentencePieceKeys(json, bpe, vocabSize);
    if (normalizer !== undefined) keys.push(["tokenizer.armt.normalizer", { type: "STRING", value: normalizer }]);
    if (strippedAsPhi3(json))
        keys.push(["general.name", { type: "STRING", value: name === undefined ? "phi-3" : `${name} (phi-3)` }]);
    return new Map([...keys, ...(await specialTokenKeys(folder, json, bpe, own, config, vocabSize))]);
}
