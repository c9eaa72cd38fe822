import { open } from "node:fs/promises";
import { ArmtError } from "../errors.js";

const headerBytes = 12;
const sequenceStateMagic = 0x67677371; // "ggsq"

/**
 * Number of tokens in a file that `sequence.saveStateToFile` wrote. Asked for because node-llama-cpp otherwise makes room for as many as the
 * context can hold, which is 4 GiB for an unbounded one, and because libllama does not notice that a file is too short.
 * @throws {ArmtError} for a file that is none, or whose tokens are cut off
 */
export async function countStateTokens(file: string): Promise<number> {
    const handle = await open(file);
    try {
        const header = Buffer.alloc(headerBytes);
        const { bytesRead } = await handle.read(header, 0, headerBytes, 0);
        if (bytesRead < headerBytes || header.readUInt32LE(0) !== sequenceStateMagic)
            throw new ArmtError(`${file} is no saved state of a sequence`);
        const tokens = header.readUInt32LE(8);
        const { size } = await handle.stat();
        if (headerBytes + 4 * tokens > size)
            throw new ArmtError(`${file} is damaged: it ends within its list of tokens`);
        return tokens;
    } finally {
        await handle.close();
    }
}
