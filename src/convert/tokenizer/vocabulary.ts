import { ArmtError, quote } from "../../util/errors.js";
import type { JsonFile } from "../../util/json-file.js";
import type { JsonObject, JsonValue } from "../../util/strict-json.js";

/** llama.cpp's token types. */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export type Token = {
    text: string;
    type: (typeof tokenTypes)[keyof typeof tokenTypes];
    /** Merge priority for SentencePiece-style vocabularies; higher merges first. */
    score: number;
};

export type Merge = readonly [left: string, right: string];

/** A BPE tokenizer as `tokenizer.json` has it. */
export type BpeTokenizer = {
    /** Ids by token, added tokens included. */
    ids: Map<string, number>;
    /** Added tokens: whether each is special. */
    added: Map<string, boolean>;
    merges: Merge[];
    unknownToken: string | undefined;
    byteFallback: boolean;
    ignoreMerges: boolean;
};

/**
 * Reads vocabulary and merges of a `tokenizer.json`.
 * @param vocabSize rows of the embedding; an id beyond is an error
 * @throws {ArmtError} for other models than BPE
 */
export function parseBpe(json: JsonFile, vocabSize: number): BpeTokenizer {
    const model = json.require("model", json.object("model"));
    const type = model.string("type");
    if (type !== "BPE")
        throw new ArmtError(
            `${quote(json.path)}: tokenizer model ${quote(type ?? "")} is not supported (BPE is); use --vocab-from ` +
                "or --no-tokenizer"
        );
    const ids = new Map<string, number>();
    const taken = new Map<number, string>();
    const put = (text: string, id: JsonValue | undefined) => {
        if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= vocabSize)
            throw new ArmtError(
                `${quote(json.path)}: token ${quote(text)} has id ${String(id)}, the model ${vocabSize} rows`
            );
        const other = taken.get(id);
        if (other !== undefined && other !== text)
            throw new ArmtError(
                `${quote(json.path)}: tokens ${quote(other)} and ${quote(text)} have the same id ${id}`
            );
        taken.set(id, text);
        ids.set(text, id);
    };
    for (const [text, id] of model.require("vocab", model.object("vocab")).values) put(text, id);
    const added = new Map<string, boolean>();
    for (const entry of list(json, "added_tokens")) {
        const content = entry instanceof Map ? entry.get("content") : undefined;
        if (!(entry instanceof Map) || typeof content !== "string")
            throw json.error("added_tokens", entry, "a list of tokens");
        put(content, entry.get("id"));
        added.set(content, entry.get("special") === true);
    }
    return {
        ids,
        added,
        merges: list(model, "merges").map((merge) => parseMerge(model, merge)),
        unknownToken: model.string("unk_token"),
        byteFallback: model.boolean("byte_fallback") ?? false,
        ignoreMerges: model.boolean("ignore_merges") ?? false
    };
}

/** "left right" of older files, or ["left", "right"]. */
function parseMerge(model: JsonFile, merge: JsonValue): Merge {
    const parts = typeof merge === "string" ? merge.split(" ") : merge;
    if (!Array.isArray(parts)) throw model.error("merges", merge, "a list of pairs");
    const [left, right, ...rest] = parts;
    if (typeof left !== "string" || typeof right !== "string" || rest.length > 0)
        throw model.error("merges", merge, "a list of pairs");
    return [left, right];
}

/** All tokens by id; ids without one get a name of their own that no text has. */
export function listTokens(size: number, ids: Map<string, number>, describe: (text: string) => Token): Token[] {
    const tokens: Token[] = Array.from({ length: size }, (_, id) => paddingToken(id));
    for (const [text, id] of ids) tokens[id] = describe(text);
    return tokens;
}

/** Stands for an embedding row without a token. */
export function paddingToken(id: number): Token {
    return { text: `[PAD${id}]`, type: tokenTypes.unused, score: 0 };
}

function list(json: JsonFile, key: string): JsonValue[] {
    const value = json.get(key) ?? [];
    if (!Array.isArray(value)) throw json.error(key, value, "a list");
    return value;
}

/** A component of a tokenizer (normalizer, pre-tokenizer, …) as the list of its parts. */
export function componentParts(json: JsonFile, key: string): JsonObject[] {
    const component = json.object(key)?.values;
    if (component === undefined) return [];
    const parts = component.get("normalizers") ?? component.get("pretokenizers") ?? component.get("processors");
    if (component.get("type") !== "Sequence") return [component];
    if (!Array.isArray(parts)) throw json.error(key, component, "a list of parts");
    return parts.filter((part) => part instanceof Map);
}
