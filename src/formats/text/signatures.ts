import type { NotText } from "./NotTextError.js";

interface Signature {
    readonly bytes: Uint8Array;
    readonly what: string;
    readonly remedy: string;
}

const signature = (bytes: string, what: string, remedy: string): Signature => ({
    bytes: Buffer.from(bytes, "latin1"),
    what,
    remedy
});

const unpack = (program: string) => `unpack it first, e.g. with \`${program}\``;

const choose = "name a text file instead";

/** Files that people mistake for text, by their first bytes. */
const signatures: readonly Signature[] = [
    signature("%PDF-", "is a PDF document", "extract its text first, e.g. with `pdftotext`"),
    signature("\x1f\x8b", "is compressed with gzip", unpack("zcat")),
    signature("BZh91AY&SY", "is compressed with bzip2", unpack("bzcat")),
    signature("\xfd7zXZ\x00", "is compressed with xz", unpack("xzcat")),
    signature("\x28\xb5\x2f\xfd", "is compressed with zstd", unpack("zstdcat")),
    signature("7z\xbc\xaf\x27\x1c", "is a 7z archive", unpack("7z x")),
    signature("\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an old Office document", "save it as plain text first"),
    signature("{\\rtf", "is an RTF document", "save it as plain text first"),
    signature("SQLite format 3\x00", "is an SQLite database", choose),
    signature("GGUF\x03\x00", "is a GGUF model file", "name it with -m, and a text to read"),
    signature("ARMTSNAP\x01\x00", "is a memory file", "ask it with `armt ask`"),
    signature("\x7fELF", "is a program", choose),
    signature("\x89PNG\r\n\x1a\n", "is a PNG image", choose),
    signature("\xff\xd8\xff", "is a JPEG image", choose),
    signature("GIF89a", "is a GIF image", choose)
];

const zip = signature("PK\x03\x04", "is a zip archive", unpack("unzip"));

/** Archives that hold a document, by a name or media type within their first entries. */
const documents: readonly (readonly [string, string])[] = [
    ["word/", "a Word document (docx)"],
    ["xl/", "an Excel workbook (xlsx)"],
    ["ppt/", "a PowerPoint presentation (pptx)"],
    ["application/epub+zip", "an EPUB book"],
    ["application/vnd.oasis.opendocument", "an OpenDocument file"],
    ["[Content_Types].xml", "an Office document"]
];

/** Number of bytes that tell which file it is. The longest signature is shorter; archives need their first entries. */
export const signatureLength = 4096;

/**
 * Recognizes files that are not text.
 * @param head the first bytes of a file, {@link signatureLength} of them if it has so many
 */
export function recognize(head: Uint8Array): NotText | undefined {
    const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
    const startsWith = (start: Uint8Array) => bytes.subarray(0, start.length).equals(start);
    if (startsWith(zip.bytes)) {
        const [, document] = documents.find(([name]) => bytes.includes(name, 0, "latin1")) ?? [];
        if (document === undefined) return { what: zip.what, offset: 0, remedy: zip.remedy };
        return {
            what: `is ${document}`,
            offset: 0,
            remedy: "save it as plain text first, or convert it, e.g. with `pandoc -t plain`"
        };
    }
    const found = signatures.find((candidate) => startsWith(candidate.bytes));
    return found && { what: found.what, offset: 0, remedy: found.remedy };
}
