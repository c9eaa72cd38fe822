import { existsSync } from "node:fs";
import path from "node:path";
import type { LlamaContextSequence } from "../../../plugin/index.js";
import { withoutMemory } from "../../model/without-memory.js";
import { ArmtError, quote } from "../../util/errors.js";
import { isSameFile } from "../../util/keep-inputs.js";

/**
 * Makes the command `/save` of a chat. It replaces files that it has written itself, and others only with `--force`.
 * @returns takes the words after `/save`; resolves to what was saved
 */
export function createSave(
    sequence: LlamaContextSequence,
    modelFile: string
): (words: readonly string[]) => Promise<string> {
    const written = new Set<string>();
    return async (words) => {
        const force = words[0] === "--force";
        const target = words.slice(force ? 1 : 0).join(" ");
        if (target === "") throw new ArmtError("/save needs a file, as in /save chat.armt");
        if (sequence.armt === undefined) throw withoutMemory(modelFile);
        if (isSameFile(target, modelFile))
            throw new ArmtError(`${quote(target)} is the model that this chat uses; choose another name`);
        const full = path.resolve(target);
        if (!force && !written.has(full) && existsSync(full))
            throw new ArmtError(
                `${quote(target)} exists; choose another name, or replace it with /save --force ${target}`
            );
        const { bytes, tokensRead } = await sequence.armt.save(target);
        written.add(full);
        return `${tokensRead} tokens, ${bytes} bytes`;
    };
}
