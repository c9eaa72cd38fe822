import { writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { openGguf } from "../../../src/formats/gguf/reader.js";
import { stopwatch } from "../../../src/util/stopwatch.js";
import { refusesTruncation, survivesBitFlips } from "../../helpers/damage.js";
import { ggufBytes, key, str, tensorEntry, u8, u32, u64 } from "../../helpers/gguf-bytes.js";
import { paced } from "../../helpers/pace.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const strings = [str("a"), str("é")];
const valid = ggufBytes({
    keys: [key("general.architecture", 8, str("x")), key("n", 4, u32(7)), key("list", 9, u32(8), u64(2), ...strings)],
    tensors: [tensorEntry("a", [2, 3]), tensorEntry("b", [32], 8, 32)],
    dataBytes: 66
});

test("keys, arrays and tensors are read", async (t) => {
    const file = path.join(temporaryFolder(t), "x.gguf");
    writeFileSync(file, valid);
    const gguf = await openGguf(file);
    t.deepEqual(gguf.metadata.get("n"), { type: "UINT32", value: 7 });
    t.like(gguf.metadata.get("list"), { type: "ARRAY", elementType: "STRING", count: 2 });
    t.deepEqual(await gguf.readArray("list"), ["a", "é"]);
    t.deepEqual(await gguf.readArray("list", 1), ["a"]);
    t.deepEqual(gguf.tensors.get("a")?.shape, [2, 3]);
    t.is(gguf.tensors.get("b")?.byteLength, 34);
    t.is((await gguf.readTensor("b", 30)).length, 4);
    await t.throwsAsync(gguf.readTensor("c"), { message: /no tensor "c"/ });
    await t.throwsAsync(gguf.readTensor("a", 0, 25), { message: /no bytes 0 to 25/ });
    await t.throwsAsync(gguf.readArray("n"), { message: /"n" is not an array/ });
    await gguf.close();
});

test("file cut after any byte is refused", async (t) => {
    await refusesTruncation(t, valid, path.join(temporaryFolder(t), "x.gguf"), openGguf);
});

test("file with any bit flipped is refused or still parses", async (t) => {
    const head = valid.subarray(0, -66);
    const file = path.join(temporaryFolder(t), "x.gguf");
    const refused = await survivesBitFlips(t, Buffer.concat([head, Buffer.alloc(66)]), file, openGguf);
    t.true(refused > head.length * 3);
});

test("zero-size and scalar tensors are legal", async (t) => {
    const file = path.join(temporaryFolder(t), "x.gguf");
    writeFileSync(file, ggufBytes({ tensors: [tensorEntry("zero", [0, 5]), tensorEntry("scalar", [])] }));
    const gguf = await openGguf(file);
    t.is(gguf.tensors.get("zero")?.byteLength, 0);
    t.is(gguf.tensors.get("scalar")?.byteLength, 4);
    await gguf.close();
});

test("own alignment is used", async (t) => {
    const file = path.join(temporaryFolder(t), "x.gguf");
    const keys = [key("general.alignment", 4, u32(64))];
    writeFileSync(
        file,
        ggufBytes({ keys, tensors: [tensorEntry("a", [1]), tensorEntry("b", [1], 0, 64)], dataBytes: 128 })
    );
    const gguf = await openGguf(file);
    t.is(gguf.tensors.get("a")!.offset % 64, 0);
    t.is(gguf.tensors.get("b")!.offset - gguf.tensors.get("a")!.offset, 64);
    await gguf.close();
});

const refused = test.macro({
    title: (name = "") => `refused: ${name}`,
    async exec(t, bytes: Buffer, message: RegExp) {
        const file = path.join(temporaryFolder(t), "x.gguf");
        writeFileSync(file, bytes);
        const spent = stopwatch();
        const error = await t.throwsAsync(openGguf(file), { name: "ArmtError", message });
        t.regex(error.message, /^bad GGUF file ".*x\.gguf": [^\n]+$/);
        const milliseconds = spent();
        t.true(milliseconds < 1000 || milliseconds < paced(1000), `${milliseconds} ms`);
    }
});

const withKey = (...value: Buffer[]) => ggufBytes({ keys: [Buffer.concat([str("k"), ...value])] });
const withTensor = (...tensors: Buffer[]) => ggufBytes({ tensors });
const alignment = (type: number, value: Buffer) => ggufBytes({ keys: [key("general.alignment", type, value)] });
const max = 2n ** 64n - 1n;

test("other magic", refused, Buffer.alloc(64, "GGML"), /not a GGUF file/);
test("version 0", refused, ggufBytes({ version: 0 }), /version 0 is not supported/);
test("version 1", refused, ggufBytes({ version: 1 }), /version 1/);
test("future version", refused, ggufBytes({ version: 4 }), /version 4/);
test("byte-swapped version", refused, ggufBytes({ version: 0x03000000 }), /big-endian/);
test("2^63 - 1 keys", refused, ggufBytes({ keyCount: 2n ** 63n - 1n }), /9223372036854775807 keys/);
test("2^63 - 1 tensors", refused, ggufBytes({ tensorCount: 2n ** 63n - 1n }), /9223372036854775807 tensors/);
test("more keys than the file can hold", refused, ggufBytes({ keyCount: 50_000 }), /truncated: 50000 keys/);
test("string longer than the file", refused, withKey(u32(8), u64(1000)), /"k": truncated/);
test("string of 2^64 - 1 bytes", refused, withKey(u32(8), u64(max)), /string of 18446744073709551615 bytes/);
test("string that is not UTF-8", refused, withKey(u32(8), str(Buffer.from([0xff]))), /not UTF-8/);
test(
    "key that is not UTF-8",
    refused,
    ggufBytes({ keys: [Buffer.concat([str(Buffer.from([0xff])), u32(0), u8(0)])] }),
    /not UTF-8/
);
test("unknown value type", refused, withKey(u32(13)), /"k": unknown value type 13/);
test("array of 2^64 - 1 elements", refused, withKey(u32(9), u32(0), u64(max)), /array elements \(at most/);
test("array whose size in bytes wraps", refused, withKey(u32(9), u32(10), u64(2n ** 61n)), /array elements \(at most/);
test("array longer than the file", refused, withKey(u32(9), u32(4), u64(1000)), /truncated: 1000 array elements/);
test("array of arrays", refused, withKey(u32(9), u32(9), u64(1)), /arrays of arrays/);
test("array of an unknown type", refused, withKey(u32(9), u32(99), u64(1)), /element type 99/);
test("BOOL of 2", refused, withKey(u32(7), u8(2)), /neither 0 nor 1/);
test("duplicate key", refused, ggufBytes({ keys: [key("k", 0, u8(0)), key("k", 0, u8(0))] }), /"k" appears twice/);
test("alignment 0", refused, alignment(4, u32(0)), /`general\.alignment` is 0/);
test("alignment 3", refused, alignment(4, u32(3)), /is 3, not a power of two/);
test("alignment 2^31", refused, alignment(4, u32(2 ** 31)), /is 2147483648/);
test("alignment of another type", refused, alignment(10, u64(32)), /not a UINT32/);
test("5 dimensions", refused, withTensor(tensorEntry("a", [1, 1, 1, 1, 1])), /"a": 5 dimensions/);
test("2^32 - 1 dimensions", refused, withTensor(Buffer.concat([str("a"), u32(2 ** 32 - 1)])), /4294967295 dimensions/);
test("negative dimension", refused, withTensor(tensorEntry("a", [max])), /too large/);
test("dimensions whose product wraps 2^64", refused, withTensor(tensorEntry("a", [2n ** 32n, 2n ** 32n])), /too large/);
test("dimensions beyond the file", refused, withTensor(tensorEntry("a", [17])), /truncated: tensor "a"/);
test("unknown tensor type", refused, withTensor(tensorEntry("a", [1], 999)), /unknown tensor type 999/);
test("removed tensor type", refused, withTensor(tensorEntry("a", [32], 4)), /unknown tensor type 4/);
test(
    "row that is no whole block",
    refused,
    withTensor(tensorEntry("a", [33], 8)),
    /rows of 33 are not whole blocks of Q8_0/
);
test(
    "offset past the end",
    refused,
    withTensor(tensorEntry("a", [1], 0, 2n ** 40n)),
    /offset 1099511627776, expected 0/
);
test("offset of 2^64 - 1", refused, withTensor(tensorEntry("a", [1], 0, max)), /can't be in the file/);
test(
    "misaligned offset",
    refused,
    withTensor(tensorEntry("a", [1]), tensorEntry("b", [1], 0, 4)),
    /"b": its data is at offset 4, expected 32/
);
test(
    "overlapping tensors",
    refused,
    withTensor(tensorEntry("a", [9]), tensorEntry("b", [1], 0, 32)),
    /offset 32, expected 64/
);
test("duplicate tensor", refused, withTensor(tensorEntry("a", [1]), tensorEntry("a", [1], 0, 32)), /"a" appears twice/);
test("tensor name of 64 bytes", refused, withTensor(tensorEntry("a".repeat(64), [1])), /string of 64 bytes/);
