import { ArmtError, quote } from "../../util/errors.js";
import type { GgufFile } from "./reader.js";

const tokensKey = "tokenizer.ggml.tokens";

/** The texts of a vocabulary as Latin-1, in which any bytes can be compared; undefined if the file has none. */
async function readTokens(file: GgufFile): Promise<string[] | undefined> {
    const entry = file.metadata.get(tokensKey);
    if (entry?.type !== "ARRAY" || entry.elementType !== "STRING") return undefined;
    const bytes = await file.readArrayBytes(tokensKey);
    const tokens: string[] = [];
    for (let at = 0, i = 0; i < entry.count; i++) {
        const end = at + 8 + Number(bytes.readBigUInt64LE(at));
        // llama.cpp reads them as C strings, which end at the first NUL
        tokens.push(bytes.toString("latin1", at + 8, end).split("\0", 1)[0]!);
        at = end;
    }
    return tokens;
}

/**
 * Checks what llama.cpp asserts of a vocabulary: no text twice.
 * @throws {ArmtError}
 */
export async function checkTokenTexts(file: GgufFile): Promise<void> {
    const model = file.metadata.get("tokenizer.ggml.model");
    // without one, loading fails in an orderly way; llama.cpp changes the texts of DNA vocabularies
    if (model?.type !== "STRING" || ["no_vocab", "none", "hybriddna"].includes(model.value)) return;
    const tokens = await readTokens(file);
    const ids = new Map<string, number>();
    tokens?.forEach((text, id) => {
        const name = text === "" ? `[EMPTY_${id}]` : text;
        const other = ids.get(name);
        if (other !== undefined)
            throw new ArmtError(
                `tokens ${other} and ${id} of \`${tokensKey}\` are both ` +
                    `${quote(Buffer.from(name, "latin1").toString("utf8"))}`
            );
        ids.set(name, id);
    });
}

/**
 * Checks that a SentencePiece vocabulary has a token for every byte. llama.cpp ends the process at a byte without one.
 * @throws {ArmtError}
 */
export async function checkByteTokens(file: GgufFile): Promise<void> {
    const model = file.metadata.get("tokenizer.ggml.model");
    if (model?.type !== "STRING" || model.value !== "llama") return;
    const tokens = new Set(await readTokens(file));
    for (let byte = 0; byte < 256; byte++) {
        const name = `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
        if (!tokens.has(name) && !tokens.has(String.fromCharCode(byte)))
            throw new ArmtError(`\`${tokensKey}\` has no token for byte ${byte} (${quote(name)})`);
    }
}
