import { writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { openSafetensors } from "../../../src/formats/safetensors/reader.js";
import { refusesTruncation, survivesBitFlips } from "../../helpers/damage.js";
import { temporaryFolder } from "../../helpers/temporary.js";

function fileBytes(header: string | Buffer, data = Buffer.alloc(0)): Buffer {
    const text = typeof header === "string" ? Buffer.from(header) : header;
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    return Buffer.concat([length, text, data]);
}

const entry = (dtype: string, shape: number[], begin: number, end: number) =>
    JSON.stringify({ dtype, shape, data_offsets: [begin, end] });

const valid = fileBytes(
    `{"__metadata__":{"format":"pt"},"a":${entry("F32", [2, 1], 0, 8)},"b":${entry("U8", [], 8, 9)}}  `,
    Buffer.from([0, 0, 128, 63, 0, 0, 0, 64, 7])
);

test("tensors, metadata and ranges of data are read", async (t) => {
    const file = path.join(temporaryFolder(t), "x.safetensors");
    writeFileSync(file, valid);
    const opened = await openSafetensors(file);
    t.deepEqual([...opened.metadata], [["format", "pt"]]);
    t.deepEqual([...opened.tensors.keys()], ["a", "b"]);
    t.deepEqual(opened.tensors.get("a")?.shape, [2, 1]);
    t.is((await opened.read("a")).readFloatLE(4), 2);
    t.is((await opened.read("a", { start: 0, end: 4 })).readFloatLE(), 1);
    t.deepEqual([...(await opened.read("b"))], [7]);
    await t.throwsAsync(opened.read("c"), { message: /no tensor "c"/ });
    await t.throwsAsync(opened.read("a", { start: 4, end: 9 }), { message: /no bytes 4 to 9/ });
    await opened.close();
});

test("file cut after any byte is refused", async (t) => {
    await refusesTruncation(t, valid, path.join(temporaryFolder(t), "x.safetensors"), openSafetensors);
});

test("file with any bit flipped is refused or still parses", async (t) => {
    const refused = await survivesBitFlips(t, valid, path.join(temporaryFolder(t), "x.safetensors"), openSafetensors);
    t.true(refused > 500);
});

test("zero-size tensors may share an offset, and names have no meaning of their own", async (t) => {
    const file = path.join(temporaryFolder(t), "x.safetensors");
    const empty = entry("F16", [0, 4], 0, 0);
    writeFileSync(
        file,
        fileBytes(`{"a":${empty},"__proto__":${entry("I8", [1], 0, 1)},"b":${empty}}`, Buffer.alloc(1))
    );
    const opened = await openSafetensors(file);
    t.is(opened.tensors.size, 3);
    t.is(opened.tensors.get("__proto__")?.byteLength, 1);
    await opened.close();
});

const refused = test.macro({
    title: (name = "") => `refused: ${name}`,
    async exec(t, bytes: Buffer, message: RegExp) {
        const file = path.join(temporaryFolder(t), "x.safetensors");
        writeFileSync(file, bytes);
        const error = await t.throwsAsync(openSafetensors(file), { name: "ArmtError", message });
        t.regex(error.message, /x\.safetensors/);
    }
});

function headerLength(length: bigint): Buffer {
    const bytes = Buffer.alloc(64, " ");
    bytes.writeBigUInt64LE(length);
    return bytes;
}

test("header of length 0", refused, headerLength(0n), /header of 0 bytes/);
test("header longer than the file", refused, headerLength(57n), /truncated/);
test("header of 2^63 bytes", refused, headerLength(2n ** 63n), /at most 100000000/);
test("header that is no JSON", refused, fileBytes("{a}"), /bad JSON/);
test("header that is no object", refused, fileBytes("[]"), /not a JSON object/);
test("header that is not UTF-8", refused, fileBytes(Buffer.from('{"\xff":1}', "latin1")), /not valid UTF-8/);
test("deep nesting", refused, fileBytes(`{"a":${"[".repeat(100_000)}`), /nested too deeply/);
test("duplicate tensor", refused, fileBytes(`{"a":${entry("U8", [0], 0, 0)},"a":1}`), /duplicate key/);
test("duplicate field", refused, fileBytes('{"a":{"dtype":"U8","dtype":"F32"}}'), /duplicate key/);
test(
    "unknown field",
    refused,
    fileBytes('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}}'),
    /unknown field "x"/
);
test(
    "unknown dtype",
    refused,
    fileBytes(`{"a":${entry("F3", [1], 0, 1)}}`, Buffer.alloc(1)),
    /"a": unknown dtype "F3"/
);
test("dtype named like a property", refused, fileBytes(`{"a":${entry("toString", [1], 0, 1)}}`), /unknown dtype/);
test("negative dimension", refused, fileBytes(`{"a":${entry("U8", [-1], 0, 1)}}`), /`shape` is not a list/);
test("fractional dimension", refused, fileBytes(`{"a":${entry("U8", [0.5], 0, 1)}}`), /`shape` is not a list/);
test(
    "shape whose product is too large",
    refused,
    fileBytes(`{"a":${entry("F32", [2 ** 52, 2 ** 52], 0, 0)}}`),
    /too large/
);
test(
    "shape that disagrees with its bytes",
    refused,
    fileBytes(`{"a":${entry("F32", [3], 0, 8)}}`, Buffer.alloc(8)),
    /span 8 bytes, but F32 \[3\] needs 12/
);
test(
    "data that ends before it begins",
    refused,
    fileBytes(`{"a":${entry("U8", [1], 1, 0)}}`, Buffer.alloc(1)),
    /span -1 bytes/
);
test(
    "data past the end",
    refused,
    fileBytes(`{"a":${entry("U8", [9], 0, 9)}}`, Buffer.alloc(8)),
    /truncated: tensor "a"/
);
test(
    "overlapping tensors",
    refused,
    fileBytes(`{"a":${entry("U8", [4], 0, 4)},"b":${entry("U8", [4], 2, 6)}}`, Buffer.alloc(6)),
    /"b" overlaps/
);
test(
    "gap between tensors",
    refused,
    fileBytes(`{"a":${entry("U8", [4], 0, 4)},"b":${entry("U8", [1], 5, 6)}}`, Buffer.alloc(6)),
    /1 bytes before tensor "b"/
);
test("data that belongs to no tensor", refused, fileBytes("{}", Buffer.alloc(3)), /3 bytes after/);
test("metadata that is not text", refused, fileBytes('{"__metadata__":{"a":1}}'), /"a" is not a string/);

test("folder and missing file are refused by name", async (t) => {
    const folder = temporaryFolder(t);
    await t.throwsAsync(openSafetensors(folder), { name: "ArmtError", message: /not a regular file/ });
    await t.throwsAsync(openSafetensors(path.join(folder, "y")), { name: "ArmtError", message: /no such file/ });
});
