import test from "ava";
import type { LlamaModel, Token } from "../../plugin/index.js";
import { TextStream } from "../../src/generation/TextStream.js";

/** A tokenizer whose tokens are bytes. */
const bytes = {
    detokenize: (tokens: readonly Token[]) => Buffer.from(tokens).toString("utf8")
} as Pick<LlamaModel, "detokenize">;

function stream(data: Uint8Array): string[] {
    const text = new TextStream(bytes);
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
