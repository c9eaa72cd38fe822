import type { IncomingHttpHeaders } from "node:http";
import { Busboy, type BusboyHeaders, type BusboyInstance } from "@fastify/busboy";
import { ApiError } from "./errors.js";

/** The field of a form that holds the document. */
const fileField = "file";

/** A form has a file and a few short fields. */
const limits = { files: 1, fields: 8, parts: 10, fieldSize: 1024, fieldNameSize: 100, headerPairs: 20 };

/** The body of the file in a form, and its name once its part has begun. */
export interface FormFile {
    readonly name: string | undefined;
    readonly bytes: AsyncIterable<Buffer>;
}

/**
 * The file of a `multipart/form-data` body, piece by piece, so that it may have any size.
 * @param body the bytes of the whole body
 * @throws {ApiError} while it is read, if the body is not a form with one file, named `file`
 */
export function readFormFile(headers: IncomingHttpHeaders, body: AsyncIterable<Buffer>): FormFile {
    let name: string | undefined;
    return {
        get name() {
            return name;
        },
        bytes: parse(headers, body, (found) => {
            name = found;
        })
    };
}

async function* parse(
    headers: IncomingHttpHeaders,
    body: AsyncIterable<Buffer>,
    onName: (name: string | undefined) => void
): AsyncGenerator<Buffer, void, void> {
    const pieces: Buffer[] = [];
    let found = false;
    let failure: ApiError | undefined;
    const fail = (reason: string) => {
        failure ??= new ApiError(400, `the form cannot be read: ${reason}`, { code: "invalid_form" });
    };
    let parser: BusboyInstance;
    try {
        parser = new Busboy({ headers: headers as BusboyHeaders, limits });
    } catch (error) {
        throw new ApiError(400, `the form cannot be read: ${(error as Error).message}`, { code: "invalid_form" });
    }
    parser.on("file", (field, stream, filename) => {
        if (field !== fileField) fail(`its file must be in the field \`${fileField}\`, not \`${field}\``);
        found = true;
        onName(filename === "" ? undefined : filename);
        stream.on("data", (piece: Buffer) => pieces.push(piece));
        stream.on("error", (error: Error) => fail(error.message));
    });
    for (const event of ["filesLimit", "fieldsLimit", "partsLimit"] as const)
        parser.on(event, () => fail("it has more than one file and a few fields"));
    parser.on("error", (error) => fail((error as Error).message));
    const ended = new Promise<void>((resolve) => {
        parser.on("finish", resolve);
        parser.on("error", () => resolve());
    });
    const check = () => {
        if (failure !== undefined) throw failure;
    };
    try {
        for await (const piece of body) {
            // the parser calls back once the file's bytes are among the pieces
            await Promise.race([new Promise<void>((resolve) => void parser.write(piece, () => resolve())), ended]);
            check();
            yield* pieces.splice(0);
        }
        parser.end();
        await ended;
        check();
        if (!found) fail(`it has no file in the field \`${fileField}\``);
        check();
        yield* pieces.splice(0);
    } finally {
        parser.destroy();
    }
}
