import { writeFileSync } from "node:fs";
import path from "node:path";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { makeTinyCheckpoint } from "../../src/tiny/checkpoint.js";
import { tinyTokenizer } from "../../src/tiny/tokenizer.js";
import { rewriteCheckpoint } from "./rewrite-checkpoint.js";
import { toLetters } from "./vocabulary.js";

/** A special token by its name, or a token with exactly this text or these bytes. */
export type ScriptedToken = string | Uint8Array;

/** A model whose next token depends on the last one alone. */
export interface Scripted {
    /** Names of special tokens in addition to `<bos>` and `<eos>`. Default: none. */
    special?: readonly string[];
    /** Lists of tokens; each token is followed by the next one in its list. */
    script: readonly (readonly ScriptedToken[])[];
    /** The chat template, or a list of templates with names. */
    template?: string | readonly { name: string; template: string }[];
    /** Tokens are written as SentencePiece does. Default: `false`. */
    sentencePiece?: boolean;
    /** `stop_strings` of `generation_config.json`. Default: no such file. */
    stopStrings?: readonly string[];
}

const firstSpecial = ["<bos>", "<eos>"];

/**
 * Makes the checkpoint and the model file of a script. Embeddings identify tokens, layers add nothing, and the output
 * matrix maps each token to the next one.
 */
export async function makeScriptedModel(
    folder: string,
    modelPath: string,
    { special = [], script, template, sentencePiece = false, stopStrings }: Scripted
): Promise<void> {
    const names = [...firstSpecial, ...special];
    const bytes = Array.from({ length: 256 }, (_, byte) => toLetters(Buffer.of(byte)));
    // every vocabulary of this kind has the space as a token of its own
    const letters = sentencePiece ? [...bytes, toLetters(Buffer.from("▁"))] : [...bytes];
    const ids = new Map<string, number>();
    for (const token of script.flat()) {
        const text = toLetters(Buffer.from(token));
        if (!names.includes(String(token)) && !letters.includes(text)) letters.push(text);
    }
    for (const [id, text] of letters.entries()) ids.set(text, id);
    for (const [i, name] of names.entries()) ids.set(`special ${name}`, letters.length + i);
    const idOf = (token: ScriptedToken) =>
        ids.get(`special ${String(token)}`) ?? ids.get(toLetters(Buffer.from(token)))!;
    const vocab = 32 * Math.ceil((letters.length + names.length) / 32);
    const next = script.flatMap((tokens) => tokens.slice(1).map((to, i) => [idOf(tokens[i]!), idOf(to)] as const));
    await makeTinyCheckpoint(folder, {
        layers: 1,
        hidden: vocab,
        vocab,
        segmentSize: 64,
        tokenizer: false,
        config: { bos_token_id: idOf(names[0]!), eos_token_id: idOf(names[1]!) }
    });
    await rewriteCheckpoint(folder, ({ name, shape, data, ...rest }) => {
        const values = new Float32Array(data.length / 4);
        if (/norm\.weight$/.test(name)) values.fill(1);
        else if (/embed_tokens/.test(name)) for (let i = 0; i < vocab; i++) values[i * vocab + i] = 1;
        else if (/lm_head/.test(name)) for (const [from, to] of next) values[to * vocab + from] = 1;
        else if (!/(?:o_proj|down_proj|W_mv)/.test(name)) values.fill(0.01);
        return [{ ...rest, name, shape, data: Buffer.from(values.buffer) }];
    });
    const write = (file: string, value: object) => writeFileSync(path.join(folder, file), JSON.stringify(value));
    const tokens = sentencePiece ? letters.map((text) => toSentencePiece(text, bytes)) : letters;
    const base = tinyTokenizer(288) as { model: object; [key: string]: unknown };
    write("tokenizer.json", {
        ...base,
        ...(sentencePiece
            ? {
                  pre_tokenizer: null,
                  normalizer: {
                      type: "Sequence",
                      normalizers: [
                          { type: "Prepend", prepend: "▁" },
                          { type: "Replace", pattern: { String: " " }, content: "▁" }
                      ]
                  }
              }
            : {}),
        added_tokens: names.map((content, i) => ({
            id: letters.length + i,
            content,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
            special: true
        })),
        post_processor: {
            type: "TemplateProcessing",
            single: [{ SpecialToken: { id: names[0], type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
            pair: [],
            special_tokens: {}
        },
        model: {
            ...base.model,
            vocab: Object.fromEntries(tokens.map((text, id) => [text, id])),
            merges: [],
            ignore_merges: !sentencePiece,
            ...(sentencePiece ? { byte_fallback: true, unk_token: names[0] } : {})
        }
    });
    write("tokenizer_config.json", { bos_token: names[0], eos_token: names[1], chat_template: template });
    if (stopStrings !== undefined) write("generation_config.json", { stop_strings: stopStrings });
    await convertCheckpoint({ checkpoint: folder, output: modelPath, outType: "f32" });
}

function toSentencePiece(letters: string, bytes: readonly string[]): string {
    const raw = Buffer.from([...letters].map((letter) => bytes.indexOf(letter)));
    if (raw.length === 1) return `<0x${raw[0]!.toString(16).toUpperCase().padStart(2, "0")}>`;
    return raw.toString().replaceAll(" ", "▁");
}
