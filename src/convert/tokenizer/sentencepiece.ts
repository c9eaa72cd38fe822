import { type GgufWriteValue, numberArray, stringArray } from "../../formats/gguf/writer.js";
import { ArmtError, quote } from "../../util/errors.js";
import type { JsonFile } from "../../util/json-file.js";
import { SPACE } from "./unsupported.js";
import { type BpeTokenizer, componentParts, listTokens, tokenTypes } from "./vocabulary.js";

const bytePattern = /^<0x[0-9A-F]{2}>$/;

/** The keys of a SentencePiece-style BPE tokenizer, such as Llama 2's. */
export function sentencePieceKeys(json: JsonFile, bpe: BpeTokenizer, vocabSize: number): [string, GgufWriteValue][] {
    if (!bpe.byteFallback)
        throw new ArmtError(
            `${quote(json.path)}: a BPE tokenizer that is neither byte-level nor falls back to bytes is not ` +
                "supported; use --vocab-from or --no-tokenizer"
        );
    const scores = mergeScores(bpe);
    const tokens = listTokens(vocabSize, bpe.ids, (text) => {
        return { text, type: tokenType(text, bpe), score: scores.get(text) ?? 0 };
    });
    return [
        ["tokenizer.ggml.model", { type: "STRING", value: "llama" }],
        ["tokenizer.ggml.pre", { type: "STRING", value: "default" }],
        ["tokenizer.ggml.tokens", stringArray(tokens.map(({ text }) => text))],
        [
            "tokenizer.ggml.scores",
            numberArray(
                "FLOAT32",
                tokens.map(({ score }) => score)
            )
        ],
        [
            "tokenizer.ggml.token_type",
            numberArray(
                "INT32",
                tokens.map(({ type }) => type)
            )
        ],
        ["tokenizer.ggml.add_space_prefix", { type: "BOOL", value: addsSpacePrefix(json) }]
    ];
}

/**
 * llama.cpp merges the pair whose result has the highest score. `tokenizer.json` has no scores but lists merges by
 * priority. A token's score therefore comes from the first merge that makes it. Tokens that no merge makes have the
 * lowest score.
 */
function mergeScores({ ids, merges }: BpeTokenizer): Map<string, number> {
    const scores = new Map<string, number>();
    merges.forEach(([left, right], rank) => {
        if (!scores.has(left + right)) scores.set(left + right, -rank);
    });
    for (const text of ids.keys()) {
        if (!scores.has(text) && !bytePattern.test(text)) scores.set(text, -merges.length);
    }
    return scores;
}

function tokenType(text: string, { added, unknownToken }: BpeTokenizer) {
    if (text === unknownToken) return tokenTypes.unknown;
    const special = added.get(text);
    // merges join both spaces and `▁` into runs, but llama.cpp looks for user-defined tokens in the raw text
    if (special === false && text.includes(SPACE)) return tokenTypes.normal;
    if (special !== undefined) return special ? tokenTypes.control : tokenTypes.userDefined;
    return bytePattern.test(text) ? tokenTypes.byte : tokenTypes.normal;
}

/** Whether the tokenizer prepends a space to each text. */
function addsSpacePrefix(json: JsonFile): boolean {
    return componentParts(json, "normalizer").some(
        (part) => part.get("type") === "Prepend" && part.get("prepend") === SPACE
    );
}
