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
 * Opens several files as one text. Each file begins on a new line.
 * @param files names; `-` for standard input. Without any, standard input is read
 * @throws {UsageError} if standard input is a terminal, or is named twice
 * @throws {ArmtError} if a file cannot be read
 */
export async function openTexts(files: readonly string[]): Promise<TextInput> {
    if (files.length <= 1) return await openText(files[0]);
    if (files.filter((file) => file === "-").length > 1) throw new UsageError("- is given more than once");
    const inputs: TextInput[] = [];
    for (const file of files) inputs.push(await openText(file));
    const sizes = inputs.map(({ bytes }) => bytes);
    return {
        name: files.join(", "),
        bytes: sizes.every((size) => size !== undefined) ? sizes.reduce((sum, size) => sum + size, 0) : undefined,
        pieces: joined(inputs)
    };
}

async function* joined(inputs: readonly TextInput[]): AsyncGenerator<string, void, void> {
    let last = "\n";
    for (const { pieces } of inputs) {
        let isFirst = true;
        for await (const piece of pieces) {
            if (piece === "") continue;
            yield isFirst && last !== "\n" ? `\n${piece}` : piece;
            isFirst = false;
            last = piece.at(-1)!;
        }
    }
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
        // one without a writer would be waited for, and a device may never end
        if (!info.isFile())
            throw new ArmtError(`cannot read ${quote(file)}: not a regular file; pipe it in, with - as the file`);
        return { name: file, bytes: info.size, pieces: piecesOf(file) };
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
