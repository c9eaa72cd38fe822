import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import fc from "fast-check";
import { openGguf } from "../../../src/formats/gguf/reader.js";
import type { GgufScalar } from "../../../src/formats/gguf/types.js";
import {
    type GgufTensorData,
    type GgufWriteValue,
    numberArray,
    stringArray,
    writeGguf
} from "../../../src/formats/gguf/writer.js";
import { propertySeed } from "../../helpers/property.js";
import { temporaryFolder } from "../../helpers/temporary.js";

function tensor(name: string, bytes: Uint8Array): GgufTensorData {
    async function* data() {
        yield bytes.subarray(0, 3);
        yield bytes.subarray(3);
    }
    return { name, type: "I8", shape: [bytes.length], data };
}

const scalar: fc.Arbitrary<GgufScalar> = fc.oneof(
    fc.record({ type: fc.constant("UINT8" as const), value: fc.nat(255) }),
    fc.record({ type: fc.constant("INT8" as const), value: fc.integer({ min: -128, max: 127 }) }),
    fc.record({ type: fc.constant("UINT16" as const), value: fc.nat(65_535) }),
    fc.record({ type: fc.constant("INT16" as const), value: fc.integer({ min: -32_768, max: 32_767 }) }),
    fc.record({ type: fc.constant("UINT32" as const), value: fc.nat(2 ** 32 - 1) }),
    fc.record({ type: fc.constant("INT32" as const), value: fc.integer() }),
    fc.record({ type: fc.constant("FLOAT32" as const), value: fc.float() }),
    fc.record({ type: fc.constant("FLOAT64" as const), value: fc.double() }),
    fc.record({ type: fc.constant("UINT64" as const), value: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }) }),
    fc.record({ type: fc.constant("INT64" as const), value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }) }),
    fc.record({ type: fc.constant("BOOL" as const), value: fc.boolean() }),
    fc.record({ type: fc.constant("STRING" as const), value: fc.string({ unit: "grapheme" }) })
);

test("what is written is read back", async (t) => {
    const file = path.join(temporaryFolder(t), "x.gguf");
    const keys = fc.uniqueArray(fc.tuple(fc.string({ unit: "grapheme" }), scalar), {
        selector: ([name]) => name,
        maxLength: 8
    });
    const names = fc.string({ maxLength: 15 });
    const tensors = fc.uniqueArray(fc.tuple(names, fc.uint8Array({ maxLength: 70 })), {
        selector: ([name]) => name,
        maxLength: 4
    });
    await fc.assert(
        fc.asyncProperty(keys, tensors, async (metadata, contents) => {
            fc.pre(metadata.every(([name]) => name !== "general.alignment"));
            await writeGguf(file, {
                metadata: new Map(metadata),
                tensors: contents.map(([name, bytes]) => tensor(name, bytes))
            });
            const gguf = await openGguf(file);
            t.deepEqual([...gguf.metadata], metadata);
            t.deepEqual(
                [...gguf.tensors.keys()],
                contents.map(([name]) => name)
            );
            for (const [name, bytes] of contents) t.deepEqual(new Uint8Array(await gguf.readTensor(name)), bytes);
            await gguf.close();
        }),
        { seed: propertySeed, numRuns: 60 }
    );
});

test("arrays are read back", async (t) => {
    const file = path.join(temporaryFolder(t), "x.gguf");
    const metadata = new Map<string, GgufWriteValue>([
        ["s", stringArray(["", "ä", "b"])],
        ["f", numberArray("FLOAT32", [1.5, -2])],
        ["i", numberArray("INT32", [-1])]
    ]);
    await writeGguf(file, { metadata, tensors: [] });
    const gguf = await openGguf(file);
    t.deepEqual(await gguf.readArray("s"), ["", "ä", "b"]);
    t.deepEqual(await gguf.readArray("f"), [1.5, -2]);
    t.deepEqual(await gguf.readArray("i"), [-1]);
    await gguf.close();
});

test("fingerprint and digest are the last keys, and the head's digest covers the fingerprint", async (t) => {
    const file = path.join(temporaryFolder(t), "x.gguf");
    const [a, b] = [Uint8Array.of(1, 2, 3, 4, 5), Uint8Array.of(6)];
    await writeGguf(file, { metadata: new Map(), tensors: [tensor("a", a), tensor("b", b)], fingerprint: true });
    const gguf = await openGguf(file);
    t.deepEqual([...gguf.metadata.keys()], ["armt.fingerprint", "armt.head_digest"]);
    const { value } = gguf.metadata.get("armt.head_digest") as { value: string };
    const head = readFileSync(file).subarray(0, gguf.tensors.get("a")!.offset);
    await gguf.close();
    head.write("0".repeat(64), head.indexOf(value), "latin1");
    t.is(createHash("sha256").update(head).digest("hex"), value);
});

test("tensor with too little data fails and leaves no file", async (t) => {
    const folder = temporaryFolder(t);
    const short = { ...tensor("a", new Uint8Array(4)), shape: [5] };
    const error = { name: "ArmtError", message: /"a": got 4 bytes of data, expected 5/ };
    await t.throwsAsync(writeGguf(path.join(folder, "x.gguf"), { metadata: new Map(), tensors: [short] }), error);
    t.deepEqual(readdirSync(folder), []);
});
