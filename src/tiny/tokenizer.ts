import { TOKENIZER_VOCAB } from "./options.js";

/**
 * Merges of common pairs, in the letters of byte-level BPE (`Ġ` is the space). Each merge joins two tokens that already
 * exist.
 */
const merges = [
    ["Ġ", "t"],
    ["Ġ", "a"],
    ["h", "e"],
    ["i", "n"],
    ["r", "e"],
    ["o", "n"],
    ["Ġt", "he"],
    ["e", "r"],
    ["Ġ", "s"],
    ["a", "t"],
    ["Ġ", "w"],
    ["Ġ", "o"],
    ["e", "n"],
    ["Ġ", "c"],
    ["i", "t"],
    ["i", "s"],
    ["a", "n"],
    ["o", "r"],
    ["e", "s"],
    ["Ġ", "b"],
    ["e", "d"],
    ["Ġ", "f"],
    ["in", "g"],
    ["Ġ", "p"],
    ["o", "u"],
    ["Ġa", "n"],
    ["a", "l"],
    ["a", "r"],
    ["Ġt", "o"],
    ["Ġo", "f"]
] as const;

const BEGIN = "<|begin_of_text|>";
const END = "<|end_of_text|>";

/** Llama 3's pattern for splitting text before merges are applied. */
const WORD_PATTERN =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| " +
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Ids of the special tokens. */
export const beginToken = TOKENIZER_VOCAB - 2;
export const endToken = TOKENIZER_VOCAB - 1;

/** A `tokenizer.json` like Llama 3's: bytes, a few merges, two special tokens, and reserved tokens up to `vocab`. */
export function tinyTokenizer(vocab: number): object {
    const pieces = [...byteLetters(), ...merges.map(([left, right]) => left + right)];
    const specials = [BEGIN, END];
    for (let i = 0; pieces.length + specials.length < vocab; i++) specials.push(`<|reserved_special_token_${i}|>`);
    return {
        version: "1.0",
        truncation: null,
        padding: null,
        added_tokens: specials.map((content, i) => ({
            id: pieces.length + i,
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true
        })),
        normalizer: null,
        pre_tokenizer: {
            type: "Sequence",
            pretokenizers: [
                { type: "Split", pattern: { Regex: WORD_PATTERN }, behavior: "Isolated", invert: false },
                { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false }
            ]
        },
        post_processor: {
            type: "TemplateProcessing",
            single: [{ SpecialToken: { id: BEGIN, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
            pair: [
                { SpecialToken: { id: BEGIN, type_id: 0 } },
                { Sequence: { id: "A", type_id: 0 } },
                { SpecialToken: { id: BEGIN, type_id: 1 } },
                { Sequence: { id: "B", type_id: 1 } }
            ],
            special_tokens: { [BEGIN]: { id: BEGIN, ids: [beginToken], tokens: [BEGIN] } }
        },
        decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
        model: {
            type: "BPE",
            dropout: null,
            unk_token: null,
            continuing_subword_prefix: null,
            end_of_word_suffix: null,
            fuse_unk: false,
            byte_fallback: false,
            ignore_merges: true,
            vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
            merges: merges.map((pair) => [...pair])
        }
    };
}

/** Byte-level BPE's letter for each byte, in GPT-2's order: printable bytes first. */
function byteLetters(): string[] {
    const isPrintable = (byte: number) =>
        (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const bytes = Array.from({ length: 256 }, (_, byte) => byte);
    const printable = bytes.filter(isPrintable);
    const others = bytes.filter((byte) => !isPrintable(byte));
    return [...printable, ...others.map((_, i) => 256 + i)].map((code) => String.fromCharCode(code));
}
