import { stat } from "node:fs/promises";
import path from "node:path";
import { type ArmtAskForm, memoryArchitecture } from "../../formats/gguf/armt-keys.js";
import { openGguf } from "../../formats/gguf/reader.js";
import { openSafetensors } from "../../formats/safetensors/reader.js";
import { readJsonFile } from "../../formats/text/read-json-file.js";
import { ArmtError, quote, systemErrorText } from "../../util/errors.js";
import { JsonFile } from "../../util/json-file.js";
import { type JsonObject, parseStrictJson, parseStrictJsonObject } from "../../util/strict-json.js";
import { Checkpoint } from "../checkpoint.js";
import { LoraConfig, type LoraFlags } from "../lora/lora.js";
import { closeAll, openWeightFiles, type TensorFile } from "../shards.js";
import type { BaseFingerprint } from "./base-fingerprint.js";
import { GgufTensorFile } from "./gguf-tensor-file.js";

const FORMAT_VERSION = 1;

/** What a trained memory says of itself: `armt_memory` in docs/memory-file.md. */
export type MemoryFacts = {
    readonly base: {
        readonly name: string | undefined;
        /** SPDX identifier. */
        readonly license: string | undefined;
        readonly architecture: string;
        readonly layers: number;
        readonly width: number;
        readonly vocabularySize: number;
        readonly fingerprint: BaseFingerprint;
    };
    readonly hasLora: boolean;
    readonly ask: ArmtAskForm | undefined;
    /** JSON text, for people. */
    readonly training: string | undefined;
};

/** An open file of ARMT's tensors. */
export type MemoryFile = {
    readonly path: string;
    readonly weights: Checkpoint;
    /** ARMT's numbers; `undefined`: the file says none. */
    readonly numbers: JsonFile | undefined;
    /** `undefined` in files of tensors alone, which say nothing of their base. */
    readonly facts: MemoryFacts | undefined;
    /** Whether the memory's matrices are stored as q8_0. */
    readonly isQuantized: boolean;
};

/**
 * Opens a memory's file: safetensors, GGUF or PyTorch. Close its `weights` in the end.
 * @throws {ArmtError} that names the file, key or tensor at fault
 */
export async function openMemoryFile(location: string, flags: LoraFlags = {}): Promise<MemoryFile> {
    const info = await stat(location).catch((error: unknown) => {
        throw new ArmtError(`cannot read ${quote(location)}: ${systemErrorText(error)}`, { cause: error });
    });
    if (!info.isFile()) throw new ArmtError(`cannot read ${quote(location)}: it is not a file`);
    const { files, texts, isQuantized } = await openFiles(location);
    try {
        const about = texts.get("armt_memory");
        const json =
            about === undefined ? undefined : new JsonFile(location, parseText(location, "armt_memory", about));
        const lora = json?.object("lora");
        const facts = json === undefined ? undefined : readFacts(json);
        const hasLora = files.some((file) => [...file.tensors.keys()].some((name) => name.includes(".lora_")));
        if (facts !== undefined && facts.hasLora !== hasLora)
            throw new ArmtError(
                `${quote(location)}: \`lora\` is ` +
                    (hasLora ? "null, but there are LoRA tensors" : "set, but there are no LoRA tensors")
            );
        const config =
            json === undefined
                ? await readJsonFile(path.join(path.dirname(location), "adapter_config.json"))
                : loraConfig(location, lora);
        const weights = await Checkpoint.fromFiles(files, {
            lora: new LoraConfig(config, flags, path.dirname(location)),
            adapterAlone: true
        });
        return { path: location, weights, numbers: await readNumbers(location, texts), facts, isQuantized };
    } catch (error) {
        await closeAll(files);
        throw error;
    }
}

type OpenFiles = { files: TensorFile[]; texts: ReadonlyMap<string, string>; isQuantized: boolean };

async function openFiles(location: string): Promise<OpenFiles> {
    if (location.endsWith(".gguf")) {
        const file = await openGguf(location);
        try {
            const architecture = file.metadata.get("general.architecture");
            if (architecture?.type !== "STRING" || architecture.value !== memoryArchitecture)
                throw new ArmtError(
                    `${quote(location)} is not a memory's file: ` +
                        `\`general.architecture\` is not ${quote(memoryArchitecture)}`
                );
            const texts = new Map<string, string>();
            for (const key of ["armt_config", "armt_memory"]) {
                const entry = file.metadata.get(key);
                if (entry?.type !== "STRING") throw new ArmtError(`${quote(location)} has no text \`${key}\``);
                texts.set(key, entry.value);
            }
            const isQuantized = file.tensors.get("layers.0.W_mv.weight")?.type.name === "Q8_0";
            return { files: [new GgufTensorFile(file)], texts, isQuantized };
        } catch (error) {
            await file.close();
            throw error;
        }
    }
    if (!location.endsWith(".safetensors"))
        return { files: await openWeightFiles(location), texts: new Map(), isQuantized: false };
    const file = await openSafetensors(location);
    return { files: [file], texts: file.metadata, isQuantized: false };
}

/**
 * ARMT's numbers: the metadata of a safetensors file, by their own keys or all in `armt_config`, and the
 * `armt_config.json` next to it for what they lack.
 */
async function readNumbers(location: string, texts: ReadonlyMap<string, string>): Promise<JsonFile | undefined> {
    // a trained memory says everything itself
    const beside = texts.has("armt_memory")
        ? undefined
        : await readJsonFile(path.join(path.dirname(location), "armt_config.json"));
    const values: JsonObject = new Map(beside?.values);
    for (const [key, text] of texts) {
        if (key === "format" || key === "armt_memory") continue; // "pt", says every file of PyTorch's
        if (key === "armt_config") for (const entry of parseText(location, key, text)) values.set(...entry);
        else values.set(key, isText(key) ? text : inMetadata(location, key, () => parseStrictJson(text)));
    }
    return values.size === 0 ? undefined : new JsonFile(location, values);
}

function parseText(location: string, key: string, text: string): JsonObject {
    return inMetadata(location, key, () => parseStrictJsonObject(text));
}

function inMetadata<T>(location: string, key: string, parse: () => T): T {
    try {
        return parse();
    } catch (error) {
        if (!(error instanceof ArmtError)) throw error;
        throw new ArmtError(`${quote(location)}: metadata ${quote(key)}: ${error.message}`, { cause: error });
    }
}

/** Keys whose values are text, which in the metadata has no quotes. */
function isText(key: string): boolean {
    return key === "segment_alignment" || key === "layers_attr";
}

/** `lora` in the words of `adapter_config.json`. */
function loraConfig(location: string, lora: JsonFile | undefined): JsonFile | undefined {
    if (lora === undefined) return undefined;
    const alpha = lora.require("alpha", lora.number("alpha"));
    const rank = lora.require("r", lora.integer("r", { min: 1 }));
    return new JsonFile(
        location,
        new Map([
            ["lora_alpha", alpha],
            ["r", rank]
        ])
    );
}

function readFacts(json: JsonFile): MemoryFacts {
    const version = json.require("format_version", json.integer("format_version", { min: 1 }));
    if (version > FORMAT_VERSION)
        throw new ArmtError(
            `${quote(json.path)}: \`format_version\` is ${version}, ` +
                `expected ${FORMAT_VERSION} at most; update node-llama-cpp-armt`
        );
    const base = json.require("base", json.object("base"));
    const digests = base.require("fingerprint", base.object("fingerprint"));
    const digest = (key: keyof BaseFingerprint) => {
        const value = digests.require(key, digests.string(key));
        if (!/^[0-9a-f]{64}$/.test(value)) throw digests.error(key, value, "64 hex digits");
        return value;
    };
    const size = (key: string) => base.require(key, base.integer(key, { min: 1 }));
    const ask = json.object("ask");
    const training = json.get("training");
    return {
        base: {
            name: base.string("name"),
            license: base.string("license"),
            architecture: base.require("architecture", base.string("architecture")),
            layers: size("layers"),
            width: size("width"),
            vocabularySize: size("vocabulary_size"),
            fingerprint: { tensors: digest("tensors"), vocabulary: digest("vocabulary"), norms: digest("norms") }
        },
        hasLora: json.get("lora") !== undefined,
        ask: ask === undefined ? undefined : readAsk(ask),
        training: training === undefined ? undefined : JSON.stringify(training, (_, value) => plain(value))
    };
}

function readAsk(ask: JsonFile): ArmtAskForm {
    const flag = (key: string) => ask.require(key, ask.boolean(key));
    const end = ask.get("end") ?? [];
    if (!Array.isArray(end) || !end.every((text) => typeof text === "string"))
        throw ask.error("end", end, "a list of texts");
    return {
        chat: flag("chat"),
        close: flag("close"),
        greedy: flag("greedy"),
        before: ask.string("before"),
        after: ask.string("after"),
        start: ask.string("start"),
        end
    };
}

/** A map as the object that it stands for. */
function plain(value: unknown): unknown {
    return value instanceof Map ? Object.fromEntries(value) : value;
}
