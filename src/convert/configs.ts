import { stat } from "node:fs/promises";
import path from "node:path";
import { ArmtError, quote } from "../util/errors.js";
import { JsonFile, readJsonFile } from "../util/json-file.js";
import { isFile } from "./shards.js";

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
    /** Folders to search for the tokenizer, in this order. */
    tokenizerFolders: string[];
};

/** `model_type` of the one class of the authors that computes what the engine does. */
const CLASS_TYPE = "armt";
const CLASS_NAME = "ARMTForCausalLM";
/** `model_type` of the authors' class with a window that is always on. */
const WINDOW_TYPE = "armt_sw";

/**
 * Finds the configs of a checkpoint.
 * @throws {ArmtError} that names a file that is missing or of the wrong kind
 */
export async function readConfigs({ checkpoint, base }: CheckpointSource): Promise<CheckpointConfigs> {
    const folder = (await isFile(checkpoint)) ? path.dirname(checkpoint) : checkpoint;
    const file = path.join(folder, "config.json");
    const own = await readJsonFile(file);
    const isClassConfig = own?.string("model_type") === CLASS_TYPE;
    if (own !== undefined) checkType(own);
    if (isClassConfig) checkClass(own!);
    const given = base === undefined ? undefined : await readBase(base);
    return {
        folder,
        base: given?.json ?? ownBase(own, file, isClassConfig),
        armt: (await readJsonFile(path.join(folder, "armt_config.json"))) ?? (isClassConfig ? own : undefined),
        isClassConfig,
        mixin: own?.get("model_type") === undefined ? own : undefined,
        adapter: await readJsonFile(path.join(folder, "adapter_config.json")),
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

/** Refuses the class that has a type of its own. */
function checkType(config: JsonFile): void {
    if (config.get("model_type") !== WINDOW_TYPE) return;
    throw new ArmtError(
        `${quote(config.path)}: \`model_type\` is ${WINDOW_TYPE} (ARMTSlidingWindowForCausalLM): each segment's ` +
            "positions start at 0 again, next to the window, and memory rows are causal; not supported; convert a " +
            `checkpoint that was trained as ${CLASS_NAME}`
    );
}

/** Refuses the authors' other classes, which read the same config but compute something different. */
function checkClass(config: JsonFile): void {
    const names = config.get("architectures");
    if (!Array.isArray(names)) return;
    for (const name of names) {
        if (name === CLASS_NAME) continue;
        const what = typeof name === "string" && /inner_?loop/i.test(name) ? " (segments inside each layer)" : "";
        throw new ArmtError(
            `${quote(config.path)}: \`architectures\` names ${quote(String(name))}${what}, whose masks and positions ` +
                `are not those of ${CLASS_NAME}: not supported; convert a checkpoint that was trained as ${CLASS_NAME}`
        );
    }
}
