import { type GgufWriteValue, numberArray, stringArray } from "../../formats/gguf/writer.js";
import { ArmtError, quote } from "../../util/errors.js";
import type { JsonFile } from "../../util/json-file.js";
import { SPACE } from "./unsupported.js";
import { type BpeTokenizer, componentParts, listTokens, tokenTypes } from "./vocabulary.js";

const bytePattern = /^<0x[0-9A-F]{2}>$/;

/** The keys of a SentencePiece-style BPE tokenizer, as Llama 2 has it. */
export function sentencePieceKeys(
    json: JsonFile,
    bpe: BpeTokenizer,
    vocabSize: number,
    onWarning?: (message: string) => void
): [string, GgufWriteValue][] {
    if (!bpe.byteFallback)
        throw new ArmtError(
            `${quote(json.path)}: a BPE tokenizer that is neither byte-level nor falls back to bytes is not ` +
                "supported; use --vocab-from or --no-tokenizer"
        );
    if (prependScheme(json) === "first")
        onWarning?.(
            `${quote(json.path)}: text gets a space in front only at its beginning (\`prepend_scheme\`: "first"), ` +
                "but llama.cpp also adds one after each special token"
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
 * llama.cpp merges the pair whose result scores highest. `tokenizer.json` has no scores but lists merges by priority,
 * so a token scores by the first merge that makes it; tokens that no merge makes score below all.
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
    // Merges make runs of spaces from both spaces and `▁`; llama.cpp looks for user-defined tokens in the raw text.
    if (special === false && text.includes(SPACE)) return tokenTypes.normal;
    if (special !== undefined) return special ? tokenTypes.control : tokenTypes.userDefined;
    return bytePattern.test(text) ? tokenTypes.byte : tokenTypes.normal;
}

/** Whether text gets a space in front, by the normalizer (older files) or the pre-tokenizer (newer ones). */
function addsSpacePrefix(json: JsonFile): boolean {
    const prepends = componentParts(json, "normalizer").some(
        (part) => part.get("type") === "Prepend" && part.get("prepend") === SPACE
    );
    const scheme = prependScheme(json);
    if (typeof scheme === "string") return prepends || scheme !== "never";
    return prepends || metaspaceOf(json)?.get("add_prefix_space") === true;
}

function prependScheme(json: JsonFile) {
    return metaspaceOf(json)?.get("prepend_scheme");
}

function metaspaceOf(json: JsonFile) {
    return componentParts(json, "pre_tokenizer").find((part) => part.get("type") === "Metaspace");
}
