import path from "node:path";
import { readJsonFile } from "../../formats/text/read-json-file.js";
import { ArmtError, quote } from "../../util/errors.js";
import type { JsonFile } from "../../util/json-file.js";
import type { JsonObject, JsonValue } from "../../util/strict-json.js";
import type { BpeTokenizer } from "./vocabulary.js";

/** Special tokens that transformers knows by name, and its list of others. */
const namedTokens = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"].map((name) => `${name}_token`);
const moreTokens = "additional_special_tokens";

const advice = "save the tokenizer again with transformers (`save_pretrained`), or remove the token";

/** The files that name a checkpoint's special tokens. */
export type TokenFiles = {
    own: TokenConfig;
    /** `generation_config.json` */
    generation: JsonFile | undefined;
    /** `config.json` */
    config: JsonFile;
};

/**
 * What `tokenizer_config.json` says about tokens. Like transformers, it takes what `special_tokens_map.json` says
 * instead and the tokens of `added_tokens.json`, unless `tokenizer_config.json` has `added_tokens_decoder`.
 */
export class TokenConfig {
    private constructor(
        /** `tokenizer_config.json` */
        readonly json: JsonFile | undefined,
        private readonly map: JsonFile | undefined,
        private readonly added: JsonFile | undefined
    ) {}

    /** @throws {ArmtError} if a file cannot be read or is not a JSON object */
    static async read(folder: string): Promise<TokenConfig> {
        const read = (name: string) => readJsonFile(path.join(folder, name));
        const json = await read("tokenizer_config.json");
        if (json?.values.has("added_tokens_decoder")) return new TokenConfig(json, undefined, undefined);
        return new TokenConfig(json, await read("special_tokens_map.json"), await read("added_tokens.json"));
    }

    /**
     * The text of a token such as `bos_token`, which may be a string or an object with its content.
     * @throws {ArmtError} for any other value
     */
    token(key: string): string | undefined {
        return tokenText(this.sourceOf(key), key);
    }

    /** The file that counts for a key. An explicit null in `special_tokens_map.json` says that there is none. */
    private sourceOf(key: string): JsonFile | undefined {
        return this.map?.values.has(key) ? this.map : this.json;
    }

    /**
     * Makes the tokens that the files name as special into added tokens, as transformers does.
     * @throws {ArmtError} if the vocabulary lacks one, since transformers would add it; for lists of anything else
     */
    addNamed({ ids, added }: BpeTokenizer): void {
        const named = namedTokens.map((key) => [key, this.token(key)] as const);
        const listed = tokenTexts(this.sourceOf(moreTokens), moreTokens).map((text) => [moreTokens, text] as const);
        for (const [key, text] of [...named, ...listed]) {
            if (text === undefined) continue;
            if (!ids.has(text))
                throw new ArmtError(
                    `${quote(this.sourceOf(key)!.path)}: \`${key}\` names the token ${quote(text)}, which ` +
                        `tokenizer.json lacks; ${advice}`
                );
            added.set(text, true);
        }
    }

    /** The text of a token that only some models have. It may be named among others of the model's own. */
    ownToken(key: string): string | undefined {
        const known = this.token(key);
        if (known !== undefined) return known;
        for (const json of [this.map, this.json])
            if (json?.get("extra_special_tokens") instanceof Map) {
                const text = tokenText(json.object("extra_special_tokens"), key);
                if (text !== undefined) return text;
            }
        return undefined;
    }

    /**
     * Checks that the tokenizer has all tokens that are added to it, since transformers would add those that it lacks.
     * @param added the added tokens of `tokenizer.json`
     * @throws {ArmtError}
     */
    checkAdded(added: ReadonlyMap<string, unknown>): void {
        const decoder = this.json?.object("added_tokens_decoder");
        const [json, key, texts] =
            decoder === undefined
                ? [this.added, "added_tokens", [...(this.added?.values.keys() ?? [])]]
                : [this.json, "added_tokens_decoder", [...decoder.values.keys()].map((id) => tokenText(decoder, id))];
        const missing = texts.find((text) => text !== undefined && !added.has(text));
        if (json === undefined || missing === undefined) return;
        const where = key === "added_tokens" ? "names" : `\`${key}\` has`;
        throw new ArmtError(
            `${quote(json.path)}: ${where} the token ${quote(missing)}, which is not in \`added_tokens\` of ` +
                `tokenizer.json; ${advice}`
        );
    }
}

function tokenTexts(json: JsonFile | undefined, key: string): string[] {
    const values = json?.get(key);
    if (json === undefined || values === undefined) return [];
    const texts = Array.isArray(values) ? values.map(contentOf) : [undefined];
    if (texts.every((text) => typeof text === "string")) return texts;
    throw json.error(key, values, "a list of tokens");
}

/** The text of a token, if the value is one. */
function contentOf(value: JsonValue | undefined): JsonValue | undefined {
    return value instanceof Map ? (value as JsonObject).get("content") : value;
}

function tokenText(json: JsonFile | undefined, key: string): string | undefined {
    const value = json?.get(key);
    const text = contentOf(value);
    if (json === undefined || value === undefined || typeof text === "string") return text as string | undefined;
    throw json.error(key, value, "the text of a token, or an object with it as `content`");
}

/**
 * The ids under a key with one id or a list. A negative id means that there is none.
 * @throws {ArmtError} for any other value
 */
export function tokenIds(json: JsonFile | undefined, key: string): number[] {
    const value = json?.get(key);
    if (json === undefined || value === undefined) return [];
    const ids = Array.isArray(value) ? value : [value];
    return ids
        .map((id) => {
            if (typeof id !== "number" || !Number.isSafeInteger(id))
                throw json.error(key, id, "an id or a list of ids");
            return id;
        })
        .filter((id) => id >= 0);
}
