import path from "node:path";
import type { GgufWriteValue } from "../../formats/gguf/writer.js";
import type { JsonFile } from "../../util/json-file.js";
import { readJsonFile } from "../../util/json-file.js";
import type { JsonObject } from "../../util/strict-json.js";
import { isMissing, readTextFile } from "../../util/whole-file.js";
import { endTokenKeys } from "./end-tokens.js";
import { tokenIds, tokenText } from "./token-files.js";
import { type BpeTokenizer, componentParts } from "./vocabulary.js";

/** Names of special tokens in Hugging Face files and in GGUF. */
const specialTokens = [
    ["bos", "bos"],
    ["unk", "unknown"],
    ["pad", "padding"]
] as const;

/**
 * The ids of the special tokens, whether they are added to text, and the chat template. Source:
 * `tokenizer_config.json`, otherwise `generation_config.json` and `config.json`.
 * @throws {ArmtError} for ids that end an answer but that a GGUF file cannot store
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
        // checkpoints without such a token have an id outside the vocabulary here
        if (id !== undefined && id < vocabSize)
            keys.push([`tokenizer.ggml.${ggufName}_token_id`, { type: "UINT32", value: id }]);
    }
    const template = processorTemplate(tokenizer);
    keys.push(["tokenizer.ggml.add_bos_token", { type: "BOOL", value: own?.boolean("add_bos_token") ?? template.bos }]);
    keys.push(["tokenizer.ggml.add_eos_token", { type: "BOOL", value: own?.boolean("add_eos_token") ?? template.eos }]);
    const chatTemplate = await readChatTemplate(folder, own, "default");
    if (chatTemplate !== undefined) keys.push(["tokenizer.chat_template", { type: "STRING", value: chatTemplate }]);
    const toolTemplate = await readChatTemplate(folder, own, forTools);
    if (toolTemplate !== undefined)
        keys.push([`tokenizer.chat_template.${forTools}`, { type: "STRING", value: toolTemplate }]);
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

/** The name of the template for chats with tools, in checkpoints and, behind a dot, in keys of model files. */
const forTools = "tool_use";

/**
 * A template from its own file, from the tokenizer's config, or from a processor's older `chat_template.json`.
 * @param name a name in a list of templates; those in files of their own are in a folder, except the default one
 */
async function readChatTemplate(folder: string, own: JsonFile | undefined, name: string): Promise<string | undefined> {
    const file = name === "default" ? "chat_template.jinja" : path.join("additional_chat_templates", `${name}.jinja`);
    const separate = await readTextFile(path.join(folder, file)).catch((error: unknown) => {
        if (!isMissing(error)) throw error;
    });
    // Python reads text files with `\n` as the line end, so the model never saw `\r\n`
    if (separate !== undefined) return separate.replace(/^\ufeff/, "").replace(/\r\n?/g, "\n");
    const processor = await readJsonFile(path.join(folder, "chat_template.json"));
    return templateIn(own, name) ?? templateIn(processor, name);
}

function templateIn(json: JsonFile | undefined, name: string): string | undefined {
    const template = json?.get("chat_template");
    if (typeof template === "string") return name === "default" ? template : undefined;
    if (!Array.isArray(template)) return undefined;
    const named = template.filter((entry) => entry instanceof Map);
    const chosen = named.find((entry) => entry.get("name") === name)?.get("template");
    return typeof chosen === "string" ? chosen : undefined;
}
