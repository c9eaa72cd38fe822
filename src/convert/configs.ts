import { stat } from "node:fs/promises";
import path from "node:path";
import { readJsonFile } from "../formats/text/read-json-file.js";
import { ArmtError, quote, systemErrorText } from "../util/errors.js";
import { JsonFile } from "../util/json-file.js";
import type { ArmtHints } from "./armt-config.js";
import { dialectOfSource, readSource, SOURCE_FILE } from "./source-dialect.js";

/** Locations of a checkpoint's files. */
export type CheckpointSource = {
    /** The folder, or the weight file if the folder has several candidates. */
    checkpoint: string;
    /** The base model's `config.json` or its folder. It overrides the checkpoint's own. */
    base?: string;
};

/** The JSON files of a checkpoint. */
export type CheckpointConfigs = {
    folder: string;
    /** The base model's config. */
    base: JsonFile;
    /** File with ARMT's own keys. `undefined` if there is none. */
    armt: JsonFile | undefined;
    /** Whether ARMT's keys are in the `config.json` of the authors' `ARMTForCausalLM`. */
    isClassConfig: boolean;
    /** `config.json` of a wrapper that saved its constructor's arguments. `undefined` if it is another kind of file. */
    mixin: JsonFile | undefined;
    /** `adapter_config.json` */
    adapter: JsonFile | undefined;
    /** What the class's name or its source text says. */
    hints: ArmtHints;
    /** How the dialect was found, as a sentence. `undefined`: the class computes the outer loop. */
    dialectNote: string | undefined;
    /** An error to report if nothing else gives the dialect. */
    unknownDialect: string | undefined;
    /** Folders to search for the tokenizer, in this order. */
    tokenizerFolders: string[];
};

/** `model_type` of the authors' classes. */
const CLASS_TYPE = "armt";
const CLASS_NAME = "ARMTForCausalLM";
/** The same type's class that cuts the text inside each layer. Its versions differ. */
const INNER_NAME = "InnerLoopARMTForCausalLM";
/** A research class of the same computation, for texts that its caller cut. */
const SEGMENTED_NAME = "ARMTForCausalLMv2";
/** What the authors' other classes compute. */
const otherClasses: Readonly<Record<string, string>> = {
    MemoryParamsARMTForCausalLM: "has a second copy of every layer for memory tokens",
    MemoryParamsInnerLoopARMTForCausalLM: "has a second copy of every layer for memory tokens",
    ThinkingARMTForCausalLM: "applies a layer several times",
    OnlineARMTForCausalLM: "lets every token read a memory of its own segment"
};
/** `model_type` of the authors' class with a window that is always on. */
const WINDOW_TYPE = "armt_sw";
const WINDOW_NAME = "ARMTSlidingWindowForCausalLM";
/** Keys that only the newest classes have. In them, the first two names mean the same class. */
export const newestKeys = ["model_dtype", "memory_dtype", "attn_implementation", "base_attn_implementation"];

/**
 * Finds the configs of a checkpoint.
 * @throws {ArmtError} that names a file that is missing or of the wrong kind
 */
export async function readConfigs({ checkpoint, base }: CheckpointSource): Promise<CheckpointConfigs> {
    const info = await stat(checkpoint).catch((error: unknown) => {
        throw new ArmtError(`cannot read ${quote(checkpoint)}: ${systemErrorText(error)}`, { cause: error });
    });
    const folder = info.isFile() ? path.dirname(checkpoint) : checkpoint;
    const file = path.join(folder, "config.json");
    const own = await readJsonFile(file);
    const type = own?.string("model_type");
    const isClassConfig = type === CLASS_TYPE || type === WINDOW_TYPE;
    const found = isClassConfig ? await dialectOfClass(own!, folder) : {};
    const given = base === undefined ? undefined : await readBase(base);
    return {
        folder,
        base: given?.json ?? ownBase(own, file, isClassConfig),
        armt: (await readJsonFile(path.join(folder, "armt_config.json"))) ?? (isClassConfig ? own : undefined),
        isClassConfig,
        mixin: own?.get("model_type") === undefined ? own : undefined,
        adapter: await readJsonFile(path.join(folder, "adapter_config.json")),
        hints: found.hints ?? {},
        dialectNote: found.note,
        unknownDialect: found.error,
        tokenizerFolders: given === undefined ? [folder] : [folder, given.folder]
    };
}

function ownBase(own: JsonFile | undefined, file: string, isClassConfig: boolean): JsonFile {
    if (own === undefined)
        throw new ArmtError(`no ${quote(file)}; copy the base model's there, or name it with --base`);
    if (isClassConfig) {
        const inner = own.get("base_model_config");
        const version = own.get("transformers_version");
        if (inner instanceof Map) {
            const entries = version === undefined ? [...inner] : [["transformers_version", version] as const, ...inner];
            return new JsonFile(file, new Map(entries));
        }
        const name = typeof inner === "string" ? inner : own.string("base_model_name");
        throw new ArmtError(
            `${quote(file)} only names its base model${name === undefined ? "" : `, ${quote(name)}`}; give that ` +
                "model's config.json with --base"
        );
    }
    if (own.get("model_type") === undefined)
        throw new ArmtError(
            `${quote(file)} has no \`model_type\`, so it is not a model's config (the authors' trainer saves its ` +
                "arguments under that name); name the base model's with --base"
        );
    return own;
}

async function readBase(base: string): Promise<{ json: JsonFile; folder: string }> {
    const isFolder = (await stat(base).catch(() => undefined))?.isDirectory() === true;
    const file = isFolder ? path.join(base, "config.json") : base;
    const json = await readJsonFile(file);
    if (json === undefined) throw new ArmtError(`no ${quote(file)} (--base)`);
    return { json, folder: path.dirname(file) };
}

/** What the class computes, by its name, its keys and the source text next to it. Refuses classes of other kinds. */
async function dialectOfClass(
    config: JsonFile,
    folder: string
): Promise<{ hints?: ArmtHints; note?: string; error?: string }> {
    const names = config.get("architectures");
    const window = config.get("model_type") === WINDOW_TYPE;
    const known = window ? [WINDOW_NAME] : [CLASS_NAME, INNER_NAME, SEGMENTED_NAME];
    const list = Array.isArray(names) ? names.map(String) : [];
    for (const name of list)
        if (!known.includes(name))
            throw new ArmtError(
                `${quote(config.path)}: \`architectures\` names ${quote(name)}, which ` +
                    `${otherClasses[name] ?? `computes something else than ${known.join(", ")}`}: not supported; ` +
                    `convert a checkpoint that was trained as ${known[0]}`
            );
    if (window) return { hints: { dialect: "inner-causal", slidingWindow: true } };
    if (list.includes(SEGMENTED_NAME))
        return {
            note:
                `${SEGMENTED_NAME} leaves it to its caller where a text is cut; the model file cuts it after each ` +
                "`segment_size` tokens, so close segments yourself where the training did"
        };
    const isNewest = newestKeys.some((key) => config.get(key) !== undefined);
    if (!list.includes(INNER_NAME) || isNewest) return {};
    const file = path.join(folder, SOURCE_FILE);
    const text = await readSource(file);
    const dialect = text === undefined ? undefined : dialectOfSource(text);
    if (dialect !== undefined)
        return { hints: { dialect }, note: `the dialect is ${dialect}, by the text of ${quote(file)}` };
    const reason = text === undefined ? `there is no ${quote(file)} to tell` : `the text of ${quote(file)} is unknown`;
    return {
        error:
            `${quote(config.path)}: several versions of ${INNER_NAME} compute different things, and ${reason}; give ` +
            "the version with --dialect inner, inner-causal or disjoint"
    };
}
