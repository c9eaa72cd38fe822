import { existsSync, realpathSync, statSync } from "node:fs";
import path from "node:path";
import { quote } from "./errors.js";
import { UsageError } from "./failure.js";

/** Whether two paths lead to one regular file. */
export function isSameFile(one: string, other: string): boolean {
    const [a, b] = [one, other].map((file) => statSync(file, { bigint: true, throwIfNoEntry: false }));
    return a !== undefined && b !== undefined && a.isFile() && a.dev === b.dev && a.ino === b.ino;
}

/**
 * Keeps a command from replacing what it reads, even where it may replace an existing output.
 * @param inputs files, and folders of a checkpoint. In a folder, `.gguf` files are taken for earlier outputs
 * @throws {UsageError} if the output is one of the inputs
 */
export function keepInputs(output: string, inputs: readonly (string | undefined)[]): void {
    for (const input of inputs)
        if (input !== undefined && (isSameFile(input, output) || isPartOf(input, output)))
            throw new UsageError(`cannot write ${quote(output)}: it is an input; name another output`);
}

function isPartOf(folder: string, file: string): boolean {
    if (!existsSync(file) || path.extname(file).toLowerCase() === ".gguf") return false;
    if (!existsSync(folder)) return false;
    // not the file's real path: a checkpoint's files may be links
    return realpathSync(path.dirname(path.resolve(file))) === realpathSync(folder);
}
