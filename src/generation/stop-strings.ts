import type { TokenSource } from "./TokenBytes.js";

/** The strings that end an answer, as a model's file says (GGUF key `tokenizer.armt.stop_strings`). */
export function modelStopStrings({ fileInfo }: TokenSource): readonly string[] {
    const { tokenizer } = fileInfo.metadata as { readonly tokenizer?: { readonly armt?: { stop_strings?: unknown } } };
    const strings = tokenizer?.armt?.stop_strings;
    if (!Array.isArray(strings)) return [];
    return strings.filter((string) => typeof string === "string" && string !== "");
}
