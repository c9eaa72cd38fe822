import path from "node:path";
import { type GgufWriteValue, stringArray } from "../../formats/gguf/writer.js";
import { readJsonFile } from "../../formats/text/read-json-file.js";
import { readTextFile } from "../../formats/text/read-text-file.js";
import type { JsonFile } from "../../util/json-file.js";
import type { JsonObject, JsonValue } from "../../util/strict-json.js";
import { endTokenKeys } from "./end-tokens.js";
import { type TokenConfig, tokenIds } from "./token-files.js";
import { unsupportedPart } from "./unsupported.js";
import { type BpeTokenizer, componentParts } from "./vocabulary.js";

/** Length of a stop string. The text is searched for all of them after every token. Unit: UTF-16 code units. */
const maxStopLength = 256;

/** Names of special tokens in Hugging Face files and in GGUF. */
const specialTokens = [
    ["bos", "bos"],
    ["unk", "unknown"],
    ["pad", "padding"]
] as const;

/**
 * The ids of the special tokens, whether they are added to text, and the chat template. Source: {@link TokenConfig},
 * otherwise `generation_config.json` and `config.json`.
 * @throws {ArmtError} for ids that end an answer but that a GGUF file cannot store
 */
export async function specialTokenKeys(
    folder: string,
    tokenizer: JsonFile,
    bpe: BpeTokenizer,
    own: TokenConfig,
    config: JsonFile,
    vocabSize: number
): Promise<[string, GgufWriteValue][]> {
    const generation = await readJsonFile(path.join(folder, "generation_config.json"));
    const keys = endTokenKeys({ own, generation, config }, bpe, vocabSize);
    for (const [name, ggufName] of specialTokens) {
        const text = own.token(`${name}_token`) ?? (name === "unk" ? bpe.unknownToken : undefined);
        const id =
            (text === undefined ? undefined : bpe.ids.get(text)) ??
            tokenIds(generation, `${name}_token_id`)[0] ??
            tokenIds(config, `${name}_token_id`)[0];
        // checkpoints without such a token have an id outside the vocabulary here
        if (id !== undefined && id < vocabSize)
            keys.push([`tokenizer.ggml.${ggufName}_token_id`, { type: "UINT32", value: id }]);
    }
    const keyOf = (name: string) => keys.find(([key]) => key === `tokenizer.ggml.${name}_token_id`)?.[1];
    const idOf = (name: string) => {
        const value = keyOf(name);
        return value !== undefined && "value" in value ? value.value : undefined;
    };
    const added = addedByProcessor(tokenizer, bpe);
    for (const [name, ids] of [
        ["bos", added.before],
        ["eos", added.after]
    ] as const) {
        const given = own.json?.boolean(`add_${name}_token`);
        const [only] = ids;
        // a folder may have no other file that says which token it is
        if (idOf(name) === undefined && ids.length === 1 && only !== undefined && only >= 0)
            keys.push([`tokenizer.ggml.${name}_token_id`, { type: "UINT32", value: only }]);
        if (given === undefined && ids.length > 0 && (ids.length > 1 || ids[0] !== idOf(name)))
            throw unsupportedPart(
                tokenizer,
                `a post-processor that adds the tokens ${ids.join(", ")}, which are not the \`${name}_token\`,`
            );
        keys.push([`tokenizer.ggml.add_${name}_token`, { type: "BOOL", value: given ?? ids.length > 0 }]);
    }
    const stops = stopStrings(generation);
    if (stops.length > 0) keys.push(["tokenizer.armt.stop_strings", stringArray(stops)]);
    const chatTemplate = await readChatTemplate(folder, own.json, "default");
    if (chatTemplate !== undefined) keys.push(["tokenizer.chat_template", { type: "STRING", value: chatTemplate }]);
    const toolTemplate = await readChatTemplate(folder, own.json, forTools);
    if (toolTemplate !== undefined)
        keys.push([`tokenizer.chat_template.${forTools}`, { type: "STRING", value: toolTemplate }]);
    return keys;
}

/** Texts that end an answer: transformers stops when it has written one of them. */
function stopStrings(generation: JsonFile | undefined): string[] {
    const value = generation?.get("stop_strings");
    if (generation === undefined || value === undefined) return [];
    const strings = Array.isArray(value) ? value : [value];
    return strings.map((string) => {
        if (typeof string !== "string" || string === "" || string.length > maxStopLength)
            throw generation.error("stop_strings", value, `a text of up to ${maxStopLength} characters, or a list`);
        return string;
    });
}

interface AddedIds {
    readonly before: readonly number[];
    readonly after: readonly number[];
}

/** The tokens that the tokenizer adds to one text. */
function addedByProcessor(tokenizer: JsonFile, { ids }: BpeTokenizer): AddedIds {
    for (const part of componentParts(tokenizer, "post_processor")) {
        const type = part.get("type");
        if (type === "TemplateProcessing") return addedByTemplate(part, ids);
        if (type === "BertProcessing" || type === "RobertaProcessing") {
            const idOf = (key: string) =>
                Array.isArray(part.get(key)) ? (part.get(key) as JsonValue[])[1] : undefined;
            return { before: [Number(idOf("cls"))], after: [Number(idOf("sep"))] };
        }
    }
    return { before: [], after: [] };
}

function addedByTemplate(part: JsonObject, ids: ReadonlyMap<string, number>): AddedIds {
    const items = part.get("single");
    const list = Array.isArray(items) ? items : [];
    const described = part.get("special_tokens");
    const text = list.findIndex((item) => item instanceof Map && item.has("Sequence"));
    const idsOf = (some: readonly JsonValue[]) =>
        some.flatMap((item) => {
            const special = item instanceof Map ? item.get("SpecialToken") : undefined;
            const name = special instanceof Map ? special.get("id") : undefined;
            if (typeof name !== "string") return [];
            const own = described instanceof Map ? described.get(name) : undefined;
            const given = own instanceof Map ? own.get("ids") : undefined;
            return Array.isArray(given) ? given.map(Number) : [ids.get(name) ?? -1];
        });
    return { before: idsOf(list.slice(0, Math.max(0, text))), after: idsOf(list.slice(text + 1)) };
}

/** The name of the template for chats with tools, in checkpoints and, behind a dot, in keys of model files. */
const forTools = "tool_use";

/**
 * A template from its own file, from the tokenizer's config, or from a processor's older `chat_template.json`.
 * @param name a name in a list of templates; those in files of their own are in a folder, except the default one
 */
async function readChatTemplate(folder: string, own: JsonFile | undefined, name: string): Promise<string | undefined> {
    const file = name === "default" ? "chat_template.jinja" : path.join("additional_chat_templates", `${name}.jinja`);
    const separate = await readTextFile(path.join(folder, file));
    // Python reads text files with `\n` as the line end, so the model never saw `\r\n`
    if (separate !== undefined) return separate.replace(/\r\n?/g, "\n");
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
