import { gzipSync } from "node:zlib";
import test from "ava";
import fc from "fast-check";
import { NotTextError } from "../../../src/formats/text/NotTextError.js";
import { decodeText, TextReader } from "../../../src/formats/text/TextReader.js";
import { propertySeed } from "../../helpers/property.js";

function read(bytes: Uint8Array, sizes: readonly number[] = []): string {
    const reader = new TextReader("book.txt");
    let text = "";
    let at = 0;
    for (const size of sizes) {
        text += reader.push(bytes.subarray(at, at + size));
        at += size;
    }
    return text + reader.push(bytes.subarray(at)) + reader.end();
}

const encodings: Readonly<Record<string, (text: string) => Buffer>> = {
    "UTF-8": (text) => Buffer.from(text),
    "UTF-8 with a mark": (text) => Buffer.from(`\ufeff${text}`),
    "UTF-16 LE": (text) => Buffer.from(`\ufeff${text}`, "utf16le"),
    "UTF-16 BE": (text) => Buffer.from(`\ufeff${text}`, "utf16le").swap16()
};

for (const [name, encode] of Object.entries(encodings))
    test(`${name} is decoded, wherever its bytes are divided`, (t) => {
        const text = fc
            .string({ unit: "binary", maxLength: 6000 })
            .filter((value) => !value.includes("\0") && !value.startsWith("\ufeff"));
        fc.assert(
            fc.property(text, fc.array(fc.integer({ min: 1, max: 5000 }), { maxLength: 20 }), (value, sizes) => {
                t.is(read(encode(value), sizes), value);
            }),
            { seed: propertySeed, numRuns: 200 }
        );
    });

const refused = test.macro({
    exec(t, bytes: Uint8Array, message: RegExp, offset: number) {
        for (const sizes of [[], [1, 1, 1, 1], [4095, 2]]) {
            const error = t.throws(() => read(bytes, sizes), { instanceOf: NotTextError });
            t.regex(error.message, message);
            t.is(error.reason.offset, offset);
            t.true(error.message.startsWith('"book.txt" '), error.message);
            t.true(error.message.includes(`(byte ${offset}); `), error.message);
        }
    },
    title: (name) => `refused, with the byte and the remedy: ${name}`
});

const zipOf = (name: string) => Buffer.concat([Buffer.from("PK\x03\x04"), Buffer.alloc(26), Buffer.from(name)]);
const long = "The lamp is in the hall — naïve.\n".repeat(300);

test("a PDF document", refused, Buffer.from("%PDF-1.7\n%âãÏÓ\n1 0 obj"), /is a PDF document .*pdftotext/, 0);
test("gzip", refused, gzipSync(long), /compressed with gzip .*zcat/, 0);
test("a Word document", refused, zipOf("[Content_Types].xml…word/document.xml"), /a Word document.*pandoc/, 0);
test("another archive", refused, zipOf("notes.bin"), /is a zip archive .*unzip/, 0);
test("a model file", refused, Buffer.from("GGUF\x03\0\0\0\0\0\0\0"), /GGUF model file .*-m/, 0);
test("UTF-32", refused, Buffer.from([0xff, 0xfe, 0, 0, 0x61, 0, 0, 0]), /UTF-32 .*iconv -f UTF-32/, 0);
test("a NUL byte", refused, Buffer.from(`${long}\0`), /a NUL byte/, Buffer.byteLength(long));
test("UTF-16 without a mark", refused, Buffer.from("a lamp", "utf16le"), /iconv -f UTF-16LE/, 1);
test("Latin-1", refused, Buffer.from("a café is open", "latin1"), /not UTF-8 .*iconv -f WINDOWS-1252/, 5);
const latin = Buffer.concat([Buffer.from(long), Buffer.from("é", "latin1"), Buffer.from(long)]);
test("Latin-1 far into a text", refused, latin, /not UTF-8/, Buffer.byteLength(long));
test("a text that ends within a character", refused, Buffer.from("naï").subarray(0, 3), /not UTF-8/, 2);
test("the last letter of Latin-1", refused, Buffer.from("a café", "latin1"), /not UTF-8 .*WINDOWS-1252/, 5);
test(
    "two bytes of three",
    refused,
    Buffer.from("5 €").subarray(0, 4),
    /ends within a character of UTF-8 .*complete/,
    2
);
const cut = Buffer.from(`${long}é`).subarray(0, -1);
test("a cut letter after others", refused, cut, /ends within a character of UTF-8/, Buffer.byteLength(long));
test("half a pair in UTF-16", refused, Buffer.from("\ufeffa\ud800b", "utf16le"), /not UTF-16 text/, 4);
test("half a character of UTF-16", refused, Buffer.from("\ufeffab", "utf16le").subarray(0, 5), /ends within/, 4);

test("an invalid byte is found in any text", (t) => {
    const part = fc.string({ unit: "grapheme", maxLength: 3000 });
    fc.assert(
        fc.property(part, fc.constantFrom(0x80, 0xc0, 0xf8, 0xff), part, (before, byte, after) => {
            const bytes = Buffer.concat([Buffer.from(`x${before}`), Buffer.of(byte), Buffer.from(`x${after}`)]);
            const error = t.throws(() => read(bytes), { instanceOf: NotTextError });
            t.is(error.reason.offset, Buffer.byteLength(`x${before}`));
        }),
        { seed: propertySeed, numRuns: 200 }
    );
});

test("a source of bytes becomes a source of text", async (t) => {
    async function* source() {
        yield* [Buffer.from(long), Buffer.from("ï").subarray(0, 1), Buffer.from("ï").subarray(1)];
    }
    let text = "";
    for await (const piece of decodeText(source())) text += piece;
    t.is(text, `${long}ï`);
    await t.throwsAsync(
        async () => {
            for await (const _ of decodeText(
                (async function* () {
                    yield Buffer.from("%PDF-");
                })()
            ));
        },
        { message: /^the input is a PDF document/ }
    );
});
