import type { Token } from "../../plugin/index.js";
import { TokenBytes, type TokenSource } from "./TokenBytes.js";

export interface TextStreamOptions {
    /** Whether the tokens continue a text, so that a space before the first word belongs to it. Default: `false`. */
    continues?: boolean;
    /** Whether special tokens appear in the text, by their names. Default: `false`. */
    special?: boolean;
}

/** Turns tokens into text as they arrive. It holds back at most one unfinished character and loses no byte. */
export class TextStream {
    private readonly bytes: TokenBytes;
    private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    private readonly special: boolean;
    private trimsSpace: boolean;

    constructor(model: TokenSource, { continues = false, special = false }: TextStreamOptions = {}) {
        this.bytes = TokenBytes.of(model);
        this.special = special;
        this.trimsSpace = !continues && this.bytes.addsSpace;
    }

    /** @returns the text that is complete now; often one word, sometimes empty */
    push(token: Token): string {
        let bytes = this.bytes.get(token, this.special);
        if (this.trimsSpace && bytes[0] === 0x20) bytes = bytes.subarray(1);
        this.trimsSpace = false;
        return this.decoder.decode(bytes, { stream: true });
    }

    /** @returns U+FFFD if the tokens end within a character, otherwise an empty text */
    end(): string {
        return this.decoder.decode();
    }
}

/** The text of a complete list of tokens. */
export function textOf(model: TokenSource, tokens: readonly Token[], options?: TextStreamOptions): string {
    const stream = new TextStream(model, options);
    return tokens.map((token) => stream.push(token)).join("") + stream.end();
}
