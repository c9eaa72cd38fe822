import test from "ava";
import fc from "fast-check";
import type { Token } from "../../plugin/index.js";
import { TextStream, textOf } from "../../src/generation/TextStream.js";
import { propertySeed } from "../helpers/property.js";
import { cutAt, fakeVocabulary } from "../helpers/vocabulary.js";

function stream(data: Uint8Array): string[] {
    const text = new TextStream(fakeVocabulary().source);
    return [...[...data].map((byte) => text.push(byte as Token)), text.end()];
}

test("a character of several bytes comes in one piece", (t) => {
    t.deepEqual(stream(Buffer.from("aé🦙b")), ["a", "", "é", "", "", "", "🦙", "b", ""]);
});

test("bytes that are no character do not hold back what follows", (t) => {
    t.is(stream(Buffer.from([0xf0, 0x9f, 0x41, 0x42])).join(""), "\ufffdAB");
    t.is(stream(Buffer.from([0xff, 0xff, 0xff, 0xff, 0x41])).join(""), "\ufffd\ufffd\ufffd\ufffdA");
});

test("the end returns the incomplete character", (t) => {
    t.deepEqual(stream(Buffer.from([0x41, 0xc3])), ["A", "", "\ufffd"]);
});

test("a byte order mark is text", (t) => {
    t.is(stream(Buffer.from("\ufeffa")).join(""), "\ufeffa");
});

test("however bytes are cut into tokens, the text is theirs, and at most one unfinished character is held back", (t) => {
    fc.assert(
        fc.property(fc.string({ unit: "binary" }), fc.array(fc.nat()), (text, places) => {
            const pieces = cutAt(Buffer.from(text), places);
            const { source, piece } = fakeVocabulary(pieces);
            const writer = new TextStream(source);
            let written = "";
            let length = 0;
            for (const [i, { length: bytes }] of pieces.entries()) {
                written += writer.push(piece(i));
                length += bytes;
                // four bytes are a whole character
                if (length - Buffer.byteLength(written) > 3) return false;
            }
            return writer.end() === "" && written === text;
        }),
        { seed: propertySeed }
    );
    t.pass();
});

test("any bytes give the text that a decoder makes of all of them", (t) => {
    fc.assert(
        fc.property(fc.uint8Array(), fc.array(fc.nat()), (bytes, places) => {
            const pieces = cutAt(bytes, places);
            const { source, piece } = fakeVocabulary(pieces);
            const tokens = pieces.map((_, i) => piece(i));
            return textOf(source, tokens) === new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
        }),
        { seed: propertySeed }
    );
    t.pass();
});

test("special tokens appear in the text only on request", (t) => {
    const { source, special } = fakeVocabulary([], ["<end>"]);
    const tokens = [0x41 as Token, special(0), 0x42 as Token];
    t.is(textOf(source, tokens), "AB");
    t.is(textOf(source, tokens, { special: true }), "A<end>B");
});
