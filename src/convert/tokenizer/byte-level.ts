import { type GgufWriteValue, numberArray, stringArray } from "../../formats/gguf/writer.js";
import { ArmtError, quote } from "../../util/errors.js";
import type { JsonFile } from "../../util/json-file.js";
import type { JsonObject } from "../../util/strict-json.js";
import { type BpeTokenizer, componentParts, listTokens, type Merge, tokenTypes } from "./vocabulary.js";

const contraction = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const tail = " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const start = "[^\\r\\n\\p{L}\\p{N}]?";

/**
 * llama.cpp's names (`tokenizer.ggml.pre`) for the regular expressions in `tokenizer.json` that split text into words.
 * Those of GPT-4o and Tekken are missing: llama.cpp splits at combining marks, and these tokenizers do not.
 */
const preTokenizerNames = new Map([
    [`${contraction}|${start}\\p{L}+|\\p{N}{1,3}|${tail}`, "llama-bpe"],
    [`${contraction}|${start}\\p{L}+|\\p{N}|${tail}`, "qwen2"],
    ["'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", "gpt-2"]
]);

/** Whether a tokenizer works on bytes written as printable characters, as GPT-2's and Llama 3's do. */
export function isByteLevel(json: JsonFile): boolean {
    return componentParts(json, "pre_tokenizer").some((part) => part.get("type") === "ByteLevel");
}

/** The keys of a byte-level BPE tokenizer; `pre` overrides the recognised pre-tokenizer. */
export function byteLevelKeys(
    json: JsonFile,
    bpe: BpeTokenizer,
    vocabSize: number,
    pre: string | undefined
): [string, GgufWriteValue][] {
    const tokens = listTokens(vocabSize, bpe.ids, (text) => {
        const special = bpe.added.get(text);
        const type = special === undefined ? tokenTypes.normal : special ? tokenTypes.control : tokenTypes.userDefined;
        return { text, type, score: 0 };
    });
    return [
        ["tokenizer.ggml.model", { type: "STRING", value: "gpt2" }],
        ["tokenizer.ggml.pre", { type: "STRING", value: pre ?? recognise(json, bpe) }],
        ["tokenizer.ggml.tokens", stringArray(tokens.map(({ text }) => text))],
        [
            "tokenizer.ggml.token_type",
            numberArray(
                "INT32",
                tokens.map(({ type }) => type)
            )
        ],
        ["tokenizer.ggml.merges", stringArray(bpe.merges.map(mergeText))]
    ];
}

function recognise(json: JsonFile, { ignoreMerges }: BpeTokenizer): string {
    const parts = componentParts(json, "pre_tokenizer");
    const byteLevel = parts.at(-1);
    const unknown = (what: string) =>
        new ArmtError(
            `${quote(json.path)}: ${what}; give its llama.cpp name with --pre, or use --vocab-from or --no-tokenizer`
        );
    if (byteLevel?.get("type") !== "ByteLevel")
        throw unknown(`the pre-tokenizer ${parts.map(describe).join(", ")} is not supported`);
    if (byteLevel.get("add_prefix_space") === true) throw unknown("a pre-tokenizer that adds a space is not supported");
    const ownSplit = byteLevel.get("use_regex") !== false;
    const [first, ...rest] = parts.slice(0, -1);
    if (first === undefined && ownSplit) return "gpt-2";
    if (first?.get("type") === "Digits" && first.get("individual_digits") === true && rest.length === 0 && ownSplit)
        return "smollm";
    const expression = rest.length === 0 && !ownSplit ? splitExpression(first) : undefined;
    const name = expression === undefined ? undefined : preTokenizerNames.get(expression);
    if (name === undefined)
        throw unknown(
            expression === undefined
                ? `the pre-tokenizer ${parts.map(describe).join(", ")} is not supported`
                : `unknown pre-tokenizer ${quote(expression)}`
        );
    if (ignoreMerges && name !== "llama-bpe")
        throw unknown(`\`ignore_merges\` with the pre-tokenizer ${quote(name)} is not supported`);
    // llama.cpp ignores merges for whole words under this name; dbrx splits the same way but applies the merges
    return name === "llama-bpe" && !ignoreMerges ? "dbrx" : name;
}

function splitExpression(part: JsonObject | undefined): string | undefined {
    const pattern = part?.get("pattern");
    const expression = pattern instanceof Map ? pattern.get("Regex") : undefined;
    if (part?.get("type") !== "Split" || typeof expression !== "string") return undefined;
    // Both forms keep the matches as words.
    const [behavior, inverted] = [part.get("behavior"), part.get("invert") === true];
    const findsWords = inverted ? behavior === "Removed" : behavior === "Isolated";
    return findsWords ? expression : undefined;
}

/**
 * llama.cpp separates the halves of a merge by a space. A space within a half is written as byte-level tokenizers write
 * it.
 */
function mergeText(merge: Merge): string {
    return merge.map((part) => part.replaceAll(" ", "Ġ")).join(" ");
}

/** A part of a pre-tokenizer, for errors. */
function describe(part: JsonObject): string {
    const type = quote(String(part.get("type")));
    const pattern = part.get("pattern");
    const about = pattern instanceof Map ? [...(pattern as JsonObject).values()].join() : part.get("behavior");
    return about === undefined ? type : `${type} (${quote(String(about))})`;
}
