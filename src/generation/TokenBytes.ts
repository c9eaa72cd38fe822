import { type LlamaModel, LlamaVocabularyType, type Token } from "../../plugin/index.js";

/** The part of a model that defines its tokens. */
export type TokenSource = Pick<LlamaModel, "vocabularyType" | "getTokenAttributes" | "fileInfo" | "detokenize">;

const nothing = Buffer.alloc(0);

/** Bytes by their letters in byte-level BPE: printable bytes are their own letters, the others count from U+0100. */
const byteOfLetter = new Map<string, number>();
for (let byte = 0, next = 0x100; byte < 256; byte++) {
    const isPrintable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad);
    byteOfLetter.set(String.fromCharCode(isPrintable ? byte : next++), byte);
}

/** Type of ordinary tokens in a GGUF file. */
const normalType = 1;

/** BPE vocabularies that write a space as SentencePiece does. */
const sentencePieceSpaces: ReadonlySet<string | undefined> = new Set([
    "gemma4",
    "granite-embed-multi-311m",
    "sarvam-moe"
]);

/**
 * The bytes of each token in a vocabulary, equal to llama.cpp's `token_to_piece`. node-llama-cpp returns strings only,
 * which lose the bytes of an unfinished character.
 */
export class TokenBytes {
    private static readonly known = new WeakMap<object, TokenBytes>();

    /** Whether the tokenizer prepends a space that is not part of the text. */
    readonly addsSpace: boolean;
    private readonly cache = new Map<Token, { readonly bytes: Buffer; readonly isSpecial: boolean }>();
    private readonly texts: readonly string[];
    private names: ReadonlyMap<string, Token> | undefined;
    private readonly decode: (text: string) => Buffer;

    static of(model: TokenSource): TokenBytes {
        let bytes = TokenBytes.known.get(model);
        if (bytes === undefined) {
            bytes = new TokenBytes(model);
            TokenBytes.known.set(model, bytes);
        }
        return bytes;
    }

    private constructor(private readonly model: TokenSource) {
        const { spm, ugm, bpe } = LlamaVocabularyType;
        const { vocabularyType } = model;
        const facts = model.fileInfo.metadata.tokenizer?.ggml;
        this.texts = facts?.tokens ?? [];
        this.addsSpace = facts?.add_space_prefix ?? (vocabularyType === spm || vocabularyType === ugm);
        const schemes: (string | undefined)[] = [facts?.model, facts?.pre];
        const isByteLevel = vocabularyType === bpe && !schemes.some((name) => sentencePieceSpaces.has(name));
        this.decode = isByteLevel ? decodeByteLevel : decodeSentencePiece;
    }

    /**
     * @param special whether a special token has the bytes of its name; otherwise it has none
     * @returns bytes that may begin or end within a character
     */
    get(token: Token, special = false): Buffer {
        let known = this.cache.get(token);
        if (known === undefined) {
            known = this.read(token);
            this.cache.set(token, known);
        }
        return known.isSpecial && !special ? nothing : known.bytes;
    }

    /** Whether the token is a marker, such as the end of a turn, rather than text. */
    isSpecial(token: Token): boolean {
        this.get(token);
        return this.cache.get(token)!.isSpecial;
    }

    /** The special tokens by their names. */
    get specialTokens(): ReadonlyMap<string, Token> {
        if (this.names === undefined) {
            const names = new Map<string, Token>();
            const types = this.model.fileInfo.metadata.tokenizer?.ggml?.token_type;
            for (const [id, text] of this.texts.entries()) {
                // llama.cpp makes some tokens special by their names; asking it for each token would take long
                const isCandidate = types?.[id] !== normalType || /^[_▁]?[<[]/.test(text);
                if (text !== "" && isCandidate && this.isSpecial(id as Token)) names.set(text, id as Token);
            }
            this.names = names;
        }
        return this.names;
    }

    private read(token: Token): { bytes: Buffer; isSpecial: boolean } {
        const { rwkv, none } = LlamaVocabularyType;
        const { vocabularyType } = this.model;
        if (vocabularyType === none) return { bytes: nothing, isSpecial: false };
        const { control, unknown, userDefined, normal, byte } = this.model.getTokenAttributes(token);
        const isSpecial = control || unknown;
        // RWKV escapes its tokens in its own way
        if (vocabularyType === rwkv) return { bytes: Buffer.from(this.model.detokenize([token], true)), isSpecial };
        const text = this.texts[token] ?? "";
        if (isSpecial || userDefined) return { bytes: Buffer.from(text), isSpecial };
        if (normal) return { bytes: this.decode(text), isSpecial };
        if (byte) return { bytes: Buffer.of(Number.parseInt(text.slice(3, 5), 16)), isSpecial };
        return { bytes: nothing, isSpecial };
    }
}

function decodeByteLevel(text: string): Buffer {
    const bytes: number[] = [];
    for (const letter of text) {
        const byte = byteOfLetter.get(letter);
        if (byte === undefined) bytes.push(...Buffer.from(letter));
        else bytes.push(byte);
    }
    return Buffer.from(bytes);
}

function decodeSentencePiece(text: string): Buffer {
    return Buffer.from(text.replaceAll("\u2581", " "));
}
