import { ArmtError, quote } from "../../util/errors.js";
import type { JsonFile } from "../../util/json-file.js";
import type { JsonObject, JsonValue } from "../../util/strict-json.js";
import { conflictingTokens } from "./overlapping-tokens.js";
import { type BpeTokenizer, componentParts } from "./vocabulary.js";

/** SentencePiece's symbol for a space. */
export const SPACE = "▁";
/** Normalizer that the plugin applies before llama.cpp tokenizes. */
export type Normalizer = "NFC";

/** The error for a part of a tokenizer that neither llama.cpp's vocabulary nor the plugin reproduces. */
export function unsupportedPart(json: JsonFile, what: string): ArmtError {
    return new ArmtError(
        `${quote(json.path)}: ${what} is not supported, and without it the model would read other tokens than in ` +
            "training; use --vocab-from or --no-tokenizer"
    );
}

/**
 * Checks every part of a tokenizer that changes how text becomes tokens.
 * @returns the normalizer that the plugin must apply, if there is one
 * @throws {ArmtError} that names the first part that would be lost
 */
export function checkTokenizer(json: JsonFile, bpe: BpeTokenizer, byteLevel: boolean): Normalizer | undefined {
    checkModel(json);
    if (!byteLevel && bpe.byteFallback) {
        checkBytes(json, bpe);
        checkSpaces(json, bpe);
        checkMerged(json, bpe);
    }
    checkAddedTokens(json, byteLevel);
    const normalizer = readNormalizer(json, byteLevel);
    if (normalizer === "NFC") checkComposed(json);
    return normalizer;
}

function checkModel(json: JsonFile): void {
    const model = json.object("model");
    for (const key of ["continuing_subword_prefix", "end_of_word_suffix"] as const)
        if ((model?.string(key) ?? "") !== "") throw unsupportedPart(json, `\`${key}\` of the model`);
    if ((model?.number("dropout") ?? 0) !== 0) throw unsupportedPart(json, "`dropout` of the model");
}

/** llama.cpp aborts the process for a byte without a token. */
function checkBytes(json: JsonFile, { ids }: BpeTokenizer): void {
    for (let byte = 0; byte < 256; byte++) {
        const token = `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
        if (!ids.has(token)) throw unsupportedPart(json, `a vocabulary without ${quote(token)}`);
    }
}

function readNormalizer(json: JsonFile, byteLevel: boolean): Normalizer | undefined {
    let normalizer: Normalizer | undefined;
    for (const [i, part] of componentParts(json, "normalizer").entries()) {
        if (part.get("type") === "NFC" && i === 0) normalizer = "NFC";
        else if (byteLevel || !isSpaceNormalizer(part)) throw unsupportedPart(json, `the normalizer ${describe(part)}`);
    }
    return normalizer;
}

function isSpaceNormalizer(part: JsonObject): boolean {
    return (part.get("type") === "Prepend" && part.get("prepend") === SPACE) || isSpaceReplacement(part);
}

function isSpaceReplacement(part: JsonObject): boolean {
    return part.get("type") === "Replace" && patternOf(part) === " " && part.get("content") === SPACE;
}

/** llama.cpp replaces spaces in the whole text and merges across words. */
function checkSpaces(json: JsonFile, { merges }: BpeTokenizer): void {
    const normalizer = componentParts(json, "normalizer");
    const parts = componentParts(json, "pre_tokenizer");
    const replaces = normalizer.some(isSpaceReplacement);
    for (const part of parts) {
        const isMetaspace = part.get("type") === "Metaspace" && (part.get("replacement") ?? SPACE) === SPACE;
        // matches nothing, because the normalizer has replaced all spaces
        const isIdle = part.get("type") === "Split" && patternOf(part) === " " && replaces;
        if (!isMetaspace && !isIdle) throw unsupportedPart(json, `the pre-tokenizer ${describe(part)}`);
        if (isMetaspace) checkPrefix(json, part);
        if (isMetaspace && part.get("split") !== false) {
            const crossing = merges.find(([left, right]) => (left + right).lastIndexOf(SPACE) > 0);
            if (crossing !== undefined)
                throw unsupportedPart(
                    json,
                    `the pre-tokenizer ${describe(part)} with the merge ${quote(crossing.join(" "))} across words`
                );
        }
    }
    if (!replaces && !parts.some((part) => part.get("type") === "Metaspace"))
        throw unsupportedPart(json, "a vocabulary in which spaces stay spaces");
}

/**
 * llama.cpp puts a space before every text between special tokens, or before none. This one does it only at the start
 * of a whole text ("first"), or only before a text that does not begin with a space ("always").
 */
function checkPrefix(json: JsonFile, part: JsonObject): void {
    // with `add_prefix_space` alone, libraries disagree about what false means
    const scheme = part.get("prepend_scheme") ?? "always";
    if (scheme !== "never")
        throw unsupportedPart(json, `\`prepend_scheme\` ${quote(String(scheme))} of the pre-tokenizer "Metaspace"`);
}

/** Added tokens with `▁` become ordinary tokens, so merges must be able to make them. */
function checkMerged(json: JsonFile, { added, merges }: BpeTokenizer): void {
    const unmade = new Set(
        [...added].filter(([text, special]) => !special && text.includes(SPACE)).map(([text]) => text)
    );
    unmade.delete(SPACE);
    for (const [left, right] of merges) unmade.delete(left + right);
    const [first] = unmade;
    if (first !== undefined) throw unsupportedPart(json, `the added token ${quote(first)}, which no merge makes,`);
}

function checkAddedTokens(json: JsonFile, byteLevel: boolean): void {
    const prepends = componentParts(json, "normalizer").some((part) => part.get("type") === "Prepend");
    const tokens = addedTokens(json);
    const phi3 = strippedAsPhi3(json);
    for (const token of tokens) {
        const name = quote(String(token.get("content")));
        for (const flag of ["lstrip", "rstrip", "single_word"] as const)
            if (token.get(flag) === true && !(flag === "rstrip" && phi3))
                throw unsupportedPart(json, `\`${flag}\` of the added token ${name}`);
        if (token.get("normalized") === true && !byteLevel && prepends)
            throw unsupportedPart(json, `\`normalized\` of the added token ${name} with the normalizer "Prepend"`);
    }
    const searched = tokens.map((token) => ({
        text: String(token.get("content")),
        normalized: token.get("normalized") === true
    }));
    // those with a space of SentencePiece become ordinary tokens
    const conflict = conflictingTokens(
        searched.filter(({ text }) => text !== "" && (byteLevel || !text.includes(SPACE)))
    );
    if (conflict !== undefined)
        throw unsupportedPart(json, `the overlap of the added tokens ${conflict.map(quote).join(" and ")}`);
}

/** The plugin composes characters before it looks for added tokens, and a tokenizer looks for most of them before. */
function checkComposed(json: JsonFile): void {
    for (const token of addedTokens(json)) {
        const text = String(token.get("content"));
        if (text.normalize("NFC") !== text || text.normalize("NFD") !== text)
            throw unsupportedPart(json, `the added token ${quote(text)} with the normalizer "NFC"`);
    }
}

/**
 * Whether the added tokens strip the spaces after them in the only way that llama.cpp supports. It does so for files
 * with `phi-3` in `general.name`.
 */
export function strippedAsPhi3(json: JsonFile): boolean {
    const tokens = addedTokens(json);
    const plain = ["<unk>", "<s>", "<|endoftext|>"];
    const names = new Set(tokens.map((token) => token.get("content")));
    if (![...plain, "</s>"].every((name) => names.has(name))) return false;
    return tokens.every(
        (token) => (token.get("rstrip") === true) !== plain.some((name) => name === token.get("content"))
    );
}

function addedTokens(json: JsonFile): JsonObject[] {
    const value = json.get("added_tokens");
    return Array.isArray(value) ? value.filter((token) => token instanceof Map) : [];
}

function patternOf(part: JsonObject): JsonValue | undefined {
    const pattern = part.get("pattern");
    return pattern instanceof Map ? pattern.get("String") : undefined;
}

/** Describes a part by its type and by what distinguishes it from others of that type. */
function describe(part: JsonObject): string {
    const pattern = part.get("pattern");
    const detail = pattern instanceof Map ? [...pattern.values()][0] : part.get("prepend");
    return quote(String(part.get("type"))) + (typeof detail === "string" ? ` of ${quote(detail)}` : "");
}
