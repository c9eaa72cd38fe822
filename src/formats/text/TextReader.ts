import { isAscii, isUtf8 } from "node:buffer";
import { type NotText, NotTextError } from "./NotTextError.js";
import { recognize, signatureLength } from "./signatures.js";

type Encoding = "utf-8" | "utf-16le" | "utf-16be";

const byteOrderMarks: readonly (readonly [Encoding | "utf-32", readonly number[]])[] = [
    // before UTF-16, whose mark this one begins with
    ["utf-32", [0xff, 0xfe, 0, 0]],
    ["utf-32", [0, 0, 0xfe, 0xff]],
    ["utf-8", [0xef, 0xbb, 0xbf]],
    ["utf-16le", [0xff, 0xfe]],
    ["utf-16be", [0xfe, 0xff]]
];

/**
 * Decodes a text that arrives as bytes, piece by piece. UTF-8 and, by its byte order mark, UTF-16. Anything else is
 * refused at the first byte that cannot be text, so that a document of another format never reaches a model.
 */
export class TextReader {
    private encoding: Encoding | undefined;
    /** Bytes that are not decoded yet: the file's head until it is long enough, then the start of a character. */
    private rest: Buffer = Buffer.alloc(0);
    /** Number of bytes before `rest`. */
    private offset = 0;
    /** Whether a character of several bytes was read, which no other encoding has by chance. */
    private isSurelyUtf8 = false;

    /**
     * @param input the input's file name, for errors; undefined if it has none
     * @param headLength number of bytes to wait for before the format is recognized; more are better
     */
    constructor(
        private readonly input?: string,
        private readonly headLength = signatureLength
    ) {}

    /**
     * Adds bytes.
     * @returns the text that is now complete: whole characters, sometimes none
     * @throws {NotTextError}
     */
    push(bytes: Uint8Array): string {
        this.rest = this.rest.length === 0 ? asBuffer(bytes) : Buffer.concat([this.rest, bytes]);
        if (this.encoding === undefined && this.rest.length < this.headLength) return "";
        return this.decode(false);
    }

    /**
     * Ends the text.
     * @returns the rest of it
     * @throws {NotTextError} also if the text ends within a character
     */
    end(): string {
        return this.decode(true);
    }

    private decode(isLast: boolean): string {
        this.encoding ??= this.begin();
        return this.encoding === "utf-8" ? this.decodeUtf8(isLast) : this.decodeUtf16(this.encoding, isLast);
    }

    /** Recognizes the encoding and removes its byte order mark. */
    private begin(): Encoding {
        const found = recognize(this.rest.subarray(0, signatureLength));
        if (found !== undefined) this.fail(found);
        const [encoding, mark] = byteOrderMarks.find(([, mark]) => mark.every((byte, i) => this.rest[i] === byte)) ?? [
            "utf-8" as const,
            []
        ];
        if (encoding === "utf-32") this.fail({ what: "is UTF-32", offset: 0, remedy: convertFrom("UTF-32") });
        this.take(mark.length);
        return encoding;
    }

    private decodeUtf8(isLast: boolean): string {
        const { rest } = this;
        const cut = unfinished(rest);
        const end = isLast ? rest.length : rest.length - cut;
        const bytes = rest.subarray(0, end);
        const zero = bytes.indexOf(0);
        const isValid = isUtf8(bytes);
        const wrong = isValid ? -1 : firstInvalid(bytes);
        if (zero >= 0 && (wrong < 0 || zero < wrong))
            this.fail({
                what: "contains a NUL byte, so it is not UTF-8 text",
                offset: this.offset + zero,
                remedy: looksLikeUtf16(bytes) ? convertFrom("UTF-16LE") : "name a text file instead"
            });
        if (
            isLast &&
            wrong >= 0 &&
            wrong === end - cut &&
            (cut > 1 || this.isSurelyUtf8 || !isAscii(bytes.subarray(0, wrong)))
        )
            this.fail({
                what: "ends within a character of UTF-8",
                offset: this.offset + wrong,
                remedy: "check that the file is complete"
            });
        if (wrong >= 0)
            this.fail({
                what: "is not UTF-8 text",
                offset: this.offset + wrong,
                remedy: convertFrom("WINDOWS-1252")
            });
        this.take(end);
        this.isSurelyUtf8 ||= !isAscii(bytes);
        return bytes.toString("utf8");
    }

    private decodeUtf16(encoding: Encoding, isLast: boolean): string {
        let end = this.rest.length - (this.rest.length % 2);
        if (isLast && end < this.rest.length)
            this.fail({
                what: "ends within a character of UTF-16",
                offset: this.offset + end,
                remedy: "check that the file is complete"
            });
        const bytes = Buffer.from(this.rest.subarray(0, end));
        if (encoding === "utf-16be") bytes.swap16();
        // the second half of a pair may be in the next piece
        if (!isLast && end > 0 && (bytes[end - 1]! & 0xfc) === 0xd8) end -= 2;
        const text = bytes.toString("utf16le", 0, end);
        const wrong = text.search(/\p{Surrogate}|\0/u);
        if (wrong >= 0)
            this.fail({
                what: "is not UTF-16 text, in spite of its byte order mark",
                offset: this.offset + 2 * wrong,
                remedy: "save it as UTF-8"
            });
        this.take(end);
        return text;
    }

    private take(bytes: number): void {
        this.rest = this.rest.subarray(bytes);
        this.offset += bytes;
    }

    private fail(reason: NotText): never {
        throw new NotTextError(reason, this.input);
    }
}

/**
 * Decodes a whole source of bytes.
 * @param input see {@link TextReader}
 * @throws {NotTextError}
 */
export async function* decodeText(
    source: AsyncIterable<Uint8Array>,
    input?: string,
    headLength?: number
): AsyncGenerator<string, void, void> {
    const reader = new TextReader(input, headLength);
    for await (const bytes of source) {
        const text = reader.push(bytes);
        if (text !== "") yield text;
    }
    const last = reader.end();
    if (last !== "") yield last;
}

function convertFrom(encoding: string): string {
    return `convert it to UTF-8, e.g. with \`iconv -f ${encoding} -t UTF-8\``;
}

function asBuffer(bytes: Uint8Array): Buffer {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Number of bytes at the end that begin a character of UTF-8 and do not complete it. */
function unfinished(bytes: Uint8Array): number {
    for (let back = 1; back <= Math.min(3, bytes.length); back++) {
        const byte = bytes[bytes.length - back]!;
        if ((byte & 0xc0) === 0x80) continue;
        const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        return length > back ? back : 0;
    }
    return 0;
}

/** Index of the first character that is not valid UTF-8, in bytes that are not valid as a whole. */
function firstInvalid(bytes: Uint8Array): number {
    const complete = (length: number) => length - unfinished(bytes.subarray(0, length));
    let [valid, invalid] = [0, bytes.length + 1];
    while (invalid - valid > 1) {
        const middle = (valid + invalid) >> 1;
        if (isUtf8(bytes.subarray(0, complete(middle)))) valid = middle;
        else invalid = middle;
    }
    return complete(valid);
}

/** Whether about half of the bytes are NUL, as in UTF-16 of Latin letters. */
function looksLikeUtf16(bytes: Uint8Array): boolean {
    const head = bytes.subarray(0, signatureLength);
    return head.filter((byte) => byte === 0).length > 0.3 * head.length;
}
