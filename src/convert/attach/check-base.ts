import type { GgufFile } from "../../formats/gguf/reader.js";
import { ArmtError, quote } from "../../util/errors.js";
import { type BaseFingerprint, baseFingerprint, fingerprintParts } from "./base-fingerprint.js";
import type { BaseGguf } from "./base-gguf.js";
import type { MemoryFacts } from "./memory-file.js";

/** What of a fingerprint a file that differs may be. */
const remarks: Readonly<Record<keyof BaseFingerprint, string>> = {
    tensors: "it is another model",
    vocabulary: "its tokens are others",
    norms: "it is a fine-tune, or damaged"
};

/**
 * Checks that a file is a quantization of the base that a memory was trained for.
 * @throws {ArmtError} that names that base and each digest that differs
 */
export async function checkBase({ file, name, base }: BaseGguf, memory: MemoryFacts["base"]): Promise<void> {
    const expected = memory.fingerprint;
    const found = await baseFingerprint(file);
    const parts = (["tensors", "vocabulary", "norms"] as const).filter((part) => found[part] !== expected[part]);
    const [first] = parts;
    if (first === undefined) return;
    const differing = parts.map((part) => `${fingerprintParts[part]} (\`fingerprint.${part}\`)`).join(", ");
    const sizes = (architecture: string, layers: number, width: number, vocabulary: number) =>
        `${architecture}, ${layers} layers of ${width}, ${vocabulary} tokens`;
    throw new ArmtError(
        `cannot attach to ${quote(file.path)}${nameOf(file)}: the memory was trained for ` +
            `${quote(memory.name ?? "a base without a name")} ` +
            `(${sizes(memory.architecture, memory.layers, memory.width, memory.vocabularySize)}), and this file ` +
            `(${sizes(name, base.layerCount, base.hiddenSize, base.vocabSize)}) differs in ${differing}: ` +
            `${remarks[first]}. Any quantization of that base will do`
    );
}

function nameOf({ metadata }: GgufFile): string {
    const name = metadata.get("general.name");
    return name?.type === "STRING" ? ` (${quote(name.value)})` : "";
}
