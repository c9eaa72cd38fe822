import { open } from "node:fs/promises";
import { ArmtError } from "../errors.js";

const headerBytes = 12;
const sequenceStateMagic = 0x67677371; // "ggsq"

/**
 * Reads the number of tokens in a file that `sequence.saveStateToFile` wrote. Without it, node-llama-cpp would allocate
 * room for as many tokens as fit into the context, 4 GiB for an unbounded one, and libllama would not notice a file
 * that is too short.
 * @throws {ArmtError} for any other file, and for a list of tokens that is cut off
 */
export async function countStateTokens(file: string): Promise<number> {
    const handle = await open(file);
    try {
        const header = Buffer.alloc(headerBytes);
        const { bytesRead } = await handle.read(header, 0, headerBytes, 0);
        if (bytesRead < headerBytes || header.readUInt32LE(0) !== sequenceStateMagic)
            throw new ArmtError(`${file} is not a saved state of a sequence`);
        const tokens = header.readUInt32LE(8);
        const { size } = await handle.stat();
        if (headerBytes + 4 * tokens > size)
            throw new ArmtError(`${file} is damaged: it ends within its list of tokens`);
        return tokens;
    } finally {
        await handle.close();
    }
}
