import { LlamaVocabularyType, type Token } from "../../plugin/index.js";
import type { TokenSource } from "../../src/generation/TokenBytes.js";

type Attributes = ReturnType<TokenSource["getTokenAttributes"]>;

/** A vocabulary of single bytes (ids 0 to 255), of tokens with the given bytes, and of special tokens. */
export function fakeVocabulary(pieces: readonly Uint8Array[] = [], special: readonly string[] = []) {
    const bytes = Array.from({ length: 256 }, (_, byte) => Buffer.of(byte));
    const tokens = [...[...bytes, ...pieces].map(toLetters), ...special];
    const isSpecial = (token: number) => token >= 256 + pieces.length;
    const source: TokenSource = {
        vocabularyType: LlamaVocabularyType.bpe,
        fileInfo: { metadata: { tokenizer: { ggml: { tokens, pre: "gpt-2" } } } } as never,
        getTokenAttributes: (token) =>
            ({
                normal: !isSpecial(token),
                control: isSpecial(token),
                unknown: false,
                userDefined: false
            }) as Attributes,
        detokenize: () => {
            throw new Error("not for vocabularies of bytes");
        }
    };
    return {
        source,
        piece: (index: number) => (256 + index) as Token,
        special: (index: number) => (256 + pieces.length + index) as Token
    };
}

/** Letters of byte-level BPE, as GPT-2's `bytes_to_unicode` defines them. */
export function toLetters(bytes: Uint8Array): string {
    const printable = [...range(0x21, 0x7e), ...range(0xa1, 0xac), ...range(0xae, 0xff)];
    const others = range(0, 0xff).filter((byte) => !printable.includes(byte));
    return [...bytes]
        .map((byte) => String.fromCharCode(printable.includes(byte) ? byte : 0x100 + others.indexOf(byte)))
        .join("");
}

function range(first: number, last: number): number[] {
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

/** Cuts bytes at these places, in any order. */
export function cutAt(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
    const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
    return [...ends, bytes.length]
        .map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end))
        .filter((piece) => piece.length > 0);
}
