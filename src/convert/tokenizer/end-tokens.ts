import type { GgufWriteValue } from "../../formats/gguf/writer.js";
import { ArmtError, quote } from "../../util/errors.js";
import { type TokenFiles, tokenIds } from "./token-files.js";
import type { BpeTokenizer } from "./vocabulary.js";

/** Tokens that llama.cpp recognizes by their text as the end of a turn. */
const turnEnds = ["<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<end_of_utterance>"];
const MESSAGE_END = "<|eom_id|>";
/** Tokens that llama.cpp recognizes as an end, whatever the keys say (`llama_vocab::impl::load`). */
const knownEnds = new Set([...turnEnds, MESSAGE_END, "<|endoftext|>", "<|end_of_text|>", "<EOT>", "</s>", "<eos>"]);
/**
 * Keys for additional end tokens. They are named after padding and separators of code infilling, but llama.cpp uses
 * them only to end an answer.
 */
const spareKeys = ["fim_pad", "fim_rep", "fim_sep"] as const;

/**
 * The keys of all tokens that end an answer: those of `tokenizer_config.json`, and the list of `generation_config.json`
 * or, without that file, of `config.json`.
 * @throws {ArmtError} for an id outside the model's vocabulary, and for more tokens than GGUF has keys
 */
export function endTokenKeys(
    { own, generation, config }: TokenFiles,
    bpe: BpeTokenizer,
    vocabSize: number
): [string, GgufWriteValue][] {
    const source = generation?.get("eos_token_id") === undefined ? config : generation;
    const listed = tokenIds(source, "eos_token_id");
    const named = (name: string) => {
        const text = own.ownToken(name);
        return text === undefined ? undefined : bpe.ids.get(text);
    };
    const [eos, eot, eom] = [named("eos_token") ?? listed[0], named("eot_token"), named("eom_token")];
    if (eos === undefined) return [];
    const ends = new Set([eos, eot, eom, ...listed].filter((id) => id !== undefined));
    const missing = [...ends].find((id) => id >= vocabSize);
    if (missing !== undefined)
        throw new ArmtError(
            `${quote(source.path)}: \`eos_token_id\` has ${missing}, and the model has ${vocabSize} tokens; correct it`
        );
    const keys = assign(ends, { eos, eot, eom }, bpe);
    if (keys === undefined)
        throw new ArmtError(
            `${quote(source.path)}: \`eos_token_id\` has more tokens that end an answer than GGUF has keys ` +
                `(${[...ends].join(", ")}); remove those that the model does not write`
        );
    return [...keys].map(([name, value]) => [`tokenizer.ggml.${name}_token_id`, { type: "UINT32", value }]);
}

/** @returns `undefined` if there are more tokens than keys */
function assign(
    ends: ReadonlySet<number>,
    given: { eos: number; eot: number | undefined; eom: number | undefined },
    bpe: BpeTokenizer
): Map<string, number> | undefined {
    const { eos } = given;
    const texts = new Map([...bpe.ids].map(([text, id]) => [id, text]));
    const isKnown = (id: number) => knownEnds.has(texts.get(id) ?? "");
    const unknown = [...ends].filter((id) => id !== eos && id !== given.eot && id !== given.eom && !isKnown(id));
    const withText = (...wanted: string[]) => [...ends].find((id) => wanted.includes(texts.get(id) ?? ""));
    const keys = new Map([["eos", eos]]);
    const eot = given.eot ?? withText(...turnEnds) ?? unknown.shift();
    if (eot !== undefined) keys.set("eot", eot);
    const eom = given.eom ?? withText(MESSAGE_END) ?? unknown.shift();
    if (eom !== undefined) keys.set("eom", eom);
    if (unknown.length > spareKeys.length) return undefined;
    for (const [i, id] of unknown.entries()) keys.set(spareKeys[i]!, id);
    return keys;
}
