import { quote } from "../../src/util/errors.js";
import { RandomAccessFile } from "../../src/util/random-access-file.js";
import { ArmtError } from "../errors.js";

const headerBytes = 12;
const sequenceStateMagic = 0x67677371; // "ggsq"

/**
 * Reads the number of tokens in a file that `sequence.saveStateToFile` wrote. Without it, node-llama-cpp would allocate
 * room for as many tokens as fit into the context, 4 GiB for an unbounded one, and libllama would not notice a file
 * that is too short.
 * @throws {ArmtError} for any other file, and for a list of tokens that is cut off
 */
export async function countStateTokens(path: string): Promise<number> {
    const file = await RandomAccessFile.open(path);
    try {
        const header = await file.read(0, Math.min(headerBytes, file.size));
        if (header.length < headerBytes || header.readUInt32LE(0) !== sequenceStateMagic)
            throw new ArmtError(`${quote(path)} is not a saved state of a sequence`);
        const tokens = header.readUInt32LE(8);
        if (headerBytes + 4 * tokens > file.size)
            throw new ArmtError(`${quote(path)} is damaged: it ends within its list of tokens`);
        return tokens;
    } finally {
        await file.close();
    }
}
