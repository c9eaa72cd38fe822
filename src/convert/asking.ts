import path from "node:path";
import type { ArmtAskForm } from "../formats/gguf/armt-keys.js";
import type { GgufWriteValue } from "../formats/gguf/writer.js";
import { readJsonFile } from "../formats/text/read-json-file.js";
import { ArmtError, quote } from "../util/errors.js";
import type { JsonFile } from "../util/json-file.js";

/** How to ask a model, as options say it. */
export type AskFlags = {
    /** Close the open segment before a question. */
    close?: boolean;
    /** What stands before a question. */
    before?: string;
    /** What stands after it. */
    after?: string;
    /** The text that every question begins with. Default: `before`. */
    start?: string;
};

/**
 * What a model file says about asking, from options over what is known already.
 * @returns undefined if neither says anything
 */
export function askFormOf(flags: AskFlags, known: ArmtAskForm | undefined): ArmtAskForm | undefined {
    const given = Object.fromEntries(Object.entries(flags).filter(([, value]) => value !== undefined));
    if (Object.keys(given).length === 0) return known;
    const isText = flags.before !== undefined || flags.after !== undefined;
    const none: ArmtAskForm = {
        chat: !isText,
        close: false,
        greedy: false,
        before: undefined,
        after: undefined,
        start: undefined,
        end: []
    };
    return { ...(known ?? none), ...given };
}

/**
 * The key with the fingerprints that earlier files of a model had.
 * @throws {ArmtError} for one that is no fingerprint
 */
export function earlierKeys(fingerprints: readonly string[]): Map<string, GgufWriteValue> {
    if (fingerprints.length === 0) return new Map();
    for (const fingerprint of fingerprints)
        if (!/^[0-9a-f]{64}$/.test(fingerprint))
            throw new ArmtError(`${quote(fingerprint)} is not a fingerprint, which has 64 digits from 0 to f`);
    return new Map([["armt.earlier_fingerprints", { type: "STRING", value: JSON.stringify(fingerprints) }]]);
}

/** The keys `armt.ask.*`. */
export function askKeys(ask: ArmtAskForm): Map<string, GgufWriteValue> {
    const keys = new Map<string, GgufWriteValue>();
    for (const name of ["chat", "close", "greedy"] as const)
        keys.set(`armt.ask.${name}`, { type: "BOOL", value: ask[name] });
    for (const name of ["before", "after", "start"] as const) {
        const value = ask[name];
        if (value !== undefined) keys.set(`armt.ask.${name}`, { type: "STRING", value });
    }
    keys.set("armt.ask.end", { type: "STRING", value: JSON.stringify(ask.end) });
    // llama.cpp's programs take it for the default temperature
    if (ask.greedy) keys.set("general.sampling.temp", { type: "FLOAT32", value: 0 });
    return keys;
}

/**
 * The keys `general.sampling.*`, as llama.cpp's converter writes them, from the first `generation_config.json` in some
 * folders.
 * @throws {ArmtError} that names the file and the key at fault
 */
export async function samplingKeys(folders: readonly string[]): Promise<Map<string, GgufWriteValue>> {
    for (const folder of folders) {
        const config = await readJsonFile(path.join(folder, "generation_config.json"));
        if (config !== undefined) return keysOf(config);
    }
    return new Map();
}

function keysOf(config: JsonFile): Map<string, GgufWriteValue> {
    const keys = new Map<string, GgufWriteValue>();
    const float = (key: string, value: number | undefined) => {
        if (value !== undefined) keys.set(`general.sampling.${key}`, { type: "FLOAT32", value });
    };
    // transformers ignores the other numbers then
    if (config.boolean("do_sample") === false) float("temp", 0);
    else {
        float("temp", config.number("temperature", { min: 0 }));
        const topK = config.integer("top_k");
        if (topK !== undefined) keys.set("general.sampling.top_k", { type: "INT32", value: topK });
        float("top_p", config.number("top_p", { min: 0, max: 1 }));
        float("min_p", config.number("min_p", { min: 0, max: 1 }));
    }
    float("penalty_repeat", config.number("repetition_penalty", { min: 0 }));
    return keys;
}
