import { readFile } from "node:fs/promises";
import path from "node:path";
import type { GgufWriteValue } from "../../formats/gguf/writer.js";
import type { JsonFile } from "../../util/json-file.js";
import { readJsonFile } from "../../util/json-file.js";
import type { JsonObject } from "../../util/strict-json.js";
import { endTokenKeys } from "./end-tokens.js";
import { tokenIds, tokenText } from "./token-files.js";
import { type BpeTokenizer, componentParts } from "./vocabulary.js";

/** A special token's name in Hugging Face files and in GGUF. */
const specialTokens = [
    ["bos", "bos"],
    ["unk", "unknown"],
    ["pad", "padding"]
] as const;

/**
 * Ids of the special tokens, whether text gets them added, and the chat template: from `tokenizer_config.json`, else
 * `generation_config.json` and `config.json`.
 * @throws {ArmtError} for ids that end an answer and that a GGUF file cannot hold
 */
export async function specialTokenKeys(
    folder: string,
    tokenizer: JsonFile,
    bpe: BpeTokenizer,
    config: JsonFile,
    vocabSize: number
): Promise<[string, GgufWriteValue][]> {
    const own = await readJsonFile(path.join(folder, "tokenizer_config.json"));
    const generation = await readJsonFile(path.join(folder, "generation_config.json"));
    const keys = endTokenKeys({ own, generation, config }, bpe, vocabSize);
    for (const [name, ggufName] of specialTokens) {
        const text = tokenText(own?.get(`${name}_token`)) ?? (name === "unk" ? bpe.unknownToken : undefined);
        const id =
            (text === undefined ? undefined : bpe.ids.get(text)) ??
            tokenIds(generation, `${name}_token_id`)[0] ??
            tokenIds(config, `${name}_token_id`)[0];
        // Checkpoints without such a token have an id beyond the vocabulary here.
        if (id !== undefined && id < vocabSize)
            keys.push([`tokenizer.ggml.${ggufName}_token_id`, { type: "UINT32", value: id }]);
    }
    const template = processorTemplate(tokenizer);
    keys.push(["tokenizer.ggml.add_bos_token", { type: "BOOL", value: own?.boolean("add_bos_token") ?? template.bos }]);
    keys.push(["tokenizer.ggml.add_eos_token", { type: "BOOL", value: own?.boolean("add_eos_token") ?? template.eos }]);
    const chatTemplate = await readChatTemplate(folder, own);
    if (chatTemplate !== undefined) keys.push(["tokenizer.chat_template", { type: "STRING", value: chatTemplate }]);
    return keys;
}

/** Whether the tokenizer's template for one text begins and ends with a special token. */
function processorTemplate(tokenizer: JsonFile): { bos: boolean; eos: boolean } {
    const processor = componentParts(tokenizer, "post_processor").find(
        (part) => part.get("type") === "TemplateProcessing"
    );
    const single = processor?.get("single");
    if (!Array.isArray(single)) return { bos: false, eos: false };
    const isSpecial = (item: unknown) => item instanceof Map && (item as JsonObject).has("SpecialToken");
    return { bos: isSpecial(single[0]), eos: single.length > 1 && isSpecial(single.at(-1)) };
}

/** The template of its own file, of the tokenizer's config, or of a processor's older `chat_template.json`. */
async function readChatTemplate(folder: string, own: JsonFile | undefined): Promise<string | undefined> {
    const separate = await readFile(path.join(folder, "chat_template.jinja"), "utf8").catch(() => undefined);
    // Python reads text files with `\n` at the ends of lines, so the model never saw `\r\n`.
    if (separate !== undefined) return separate.replace(/^\ufeff/, "").replace(/\r\n?/g, "\n");
    const processor = await readJsonFile(path.join(folder, "chat_template.json"));
    return templateIn(own) ?? templateIn(processor);
}

function templateIn(json: JsonFile | undefined): string | undefined {
    const template = json?.get("chat_template");
    if (typeof template === "string") return template;
    if (!Array.isArray(template)) return undefined;
    const named = template.filter((entry) => entry instanceof Map);
    const chosen = named.find((entry) => entry.get("name") === "default")?.get("template");
    return typeof chosen === "string" ? chosen : undefined;
}
