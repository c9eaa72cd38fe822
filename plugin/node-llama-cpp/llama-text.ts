import {
    type LlamaModel,
    LlamaText,
    SpecialToken,
    SpecialTokensText,
    type Token,
    type Tokenizer
} from "node-llama-cpp";

type Part = string | Token;
type Tokenize = (this: LlamaText, tokenizer: Tokenizer, options?: "trimLeadingSpace") => Token[];

/** Tokenizers of the models whose texts are joined. */
const joining = new WeakSet<Tokenizer>();
let original: Tokenize | undefined;

/**
 * For this model, tokenizes the text between two special tokens of a `LlamaText` as a whole, as training code does.
 * Left alone, node-llama-cpp tokenizes the template's words and the messages apart, which gives other tokens where they
 * meet. All chat classes use `LlamaText`, so this is the one place to change it.
 */
export function joinText(model: LlamaModel): void {
    joining.add(model.tokenizer);
    if (original !== undefined) return;
    const prototype = LlamaText.prototype as { tokenize: Tokenize };
    const plain = prototype.tokenize;
    original = plain;
    const tokenize: Tokenize = function (tokenizer, options) {
        const joined = joining.has(tokenizer) ? tokenizeJoined(this, tokenizer, options) : undefined;
        return joined ?? plain.call(this, tokenizer, options);
    };
    Object.defineProperty(prototype, "tokenize", { value: tokenize, configurable: true, writable: true });
}

/** @returns undefined if a special text cannot be taken apart without loss */
function tokenizeJoined(
    { values }: LlamaText,
    tokenizer: Tokenizer,
    options?: "trimLeadingSpace"
): Token[] | undefined {
    const tokens: Token[] = [];
    let text = "";
    const flush = () => {
        const isFirst = tokens.length === 0;
        for (const id of tokenizer(text, false, isFirst ? options : "trimLeadingSpace")) tokens.push(id);
        text = "";
    };
    const add = (part: Part) => {
        if (typeof part === "string") text += part;
        else {
            flush();
            tokens.push(part);
        }
    };
    for (const value of options === undefined ? withoutLastSpace(values) : values) {
        if (typeof value === "string") add(value);
        else if (value instanceof SpecialToken) for (const token of value.tokenize(tokenizer)) add(token);
        else if (value instanceof SpecialTokensText) {
            const parts = splitSpecial(value, tokenizer);
            if (parts === undefined) return undefined;
            for (const part of parts) add(part);
        } else return undefined;
    }
    flush();
    return tokens;
}

/**
 * A template's text before an answer may end with a space. It is part of the answer's first token, where node-llama-cpp
 * asks for a whole chat, which is without options.
 */
function withoutLastSpace(values: LlamaText["values"]): LlamaText["values"] {
    const last = values.at(-1);
    if (!(last instanceof SpecialTokensText) || !/\S $/.test(last.value)) return values;
    return [...values.slice(0, -1), new SpecialTokensText(last.value.slice(0, -1))];
}

/** The special tokens of a text and what stands between them; undefined if their texts are not the whole text. */
function splitSpecial(text: SpecialTokensText, tokenizer: Tokenizer): Part[] | undefined {
    const parts = text.tokenizeSpecialTokensOnly(tokenizer);
    const written = parts.map((part) => (typeof part === "string" ? part : tokenizer.detokenize([part], true)));
    return written.join("") === text.value ? parts : undefined;
}
