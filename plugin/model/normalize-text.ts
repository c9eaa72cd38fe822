import type { LlamaModel } from "node-llama-cpp";
import { ArmtUnsupportedError } from "../errors.js";
import { type NativeModel, nativeModelOf } from "../node-llama-cpp/internals.js";

/**
 * Normalizes text before llama.cpp tokenizes it, if the model file asks for it (`tokenizer.armt.normalizer`). llama.cpp
 * has no composition (NFC), which the tokenizers of Qwen start with.
 * @throws {ArmtUnsupportedError} for a normalizer that this version does not know
 */
export function normalizeText(model: LlamaModel): void {
    const normalizer = normalizerOf(model);
    if (normalizer === undefined) return;
    if (normalizer !== "NFC")
        throw new ArmtUnsupportedError(
            `${model.filename}: \`tokenizer.armt.normalizer\` is ${JSON.stringify(normalizer)}, which this version ` +
                "does not support; install a newer node-llama-cpp-armt"
        );
    const native = nativeModelOf(model);
    const tokenize = native.tokenize.bind(native);
    Object.defineProperty(native, "tokenize", {
        value: ((text, specialTokens) =>
            tokenize(text.normalize("NFC"), specialTokens)) satisfies NativeModel["tokenize"]
    });
}

function normalizerOf(model: LlamaModel): unknown {
    const { armt } = model.fileInfo.metadata.tokenizer as { readonly armt?: { readonly normalizer?: unknown } };
    return armt?.normalizer;
}
