import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import process from "node:process";
import { decodeText } from "../../formats/text/TextReader.js";
import { ArmtError, quote, systemErrorText } from "../../util/errors.js";
import { UsageError } from "../../util/failure.js";

/** A text that arrives in pieces and may be larger than memory. */
export interface TextInput {
    /** The file name as given; `-` for standard input. */
    readonly name: string;
    /** Size, if it is known in advance. Unit: bytes. */
    readonly bytes: number | undefined;
    /** Pieces of text, each made of whole characters. Can be iterated only once. */
    readonly pieces: AsyncIterable<string>;
}

/**
 * @throws {UsageError} without a file, if standard input is a terminal
 * @throws {ArmtError} if the file cannot be read
 */
export async function openText(file: string | undefined): Promise<TextInput> {
    if (file === undefined || file === "-") {
        if (process.stdin.isTTY) throw new UsageError("no text; name a file, or pipe it in");
        return { name: "-", bytes: undefined, pieces: decodeText(process.stdin) };
    }
    try {
        const info = await stat(file);
        if (info.isDirectory()) throw new ArmtError(`cannot read ${quote(file)}: it is a folder`);
        // a pipe or device has no size
        return { name: file, bytes: info.isFile() ? info.size : undefined, pieces: piecesOf(file) };
    } catch (error) {
        if (error instanceof ArmtError) throw error;
        throw new ArmtError(`cannot read ${quote(file)}: ${systemErrorText(error)}`, { cause: error });
    }
}

async function* piecesOf(file: string): AsyncGenerator<string, void, void> {
    try {
        yield* decodeText(createReadStream(file), file);
    } catch (error) {
        if (error instanceof ArmtError) throw error;
        throw new ArmtError(`cannot read ${quote(file)}: ${systemErrorText(error)}`, { cause: error });
    }
}
