import { writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { openTorch } from "../../../src/formats/torch/reader.js";
import { readAuthorsGolden } from "../../helpers/golden.js";
import { type PickledTensor, stateDict, tensor } from "../../helpers/pickle-bytes.js";
import { temporaryFolder } from "../../helpers/temporary.js";
import { type ZipMember, zipArchive } from "../../helpers/zip-archive.js";

const numbers = Buffer.from(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
const matrix: PickledTensor = { key: "0", shape: [2, 3], stride: [3, 1], length: 6 };

function archive(pickled: Buffer, ...more: ZipMember[]): Buffer {
    const data = { name: "model/data/0", data: numbers };
    return zipArchive([{ name: "model/data.pkl", data: pickled }, data, ...more]);
}

test("tensors are read, two names on one storage included", async (t) => {
    const file = path.join(temporaryFolder(t), "x.bin");
    const row = { ...matrix, start: 3, shape: [3], stride: [1] };
    const order = { name: "model/byteorder", data: Buffer.from("little") };
    writeFileSync(file, archive(stateDict({ a: tensor(matrix), again: tensor(matrix), row: tensor(row) }), order));
    const opened = await openTorch(file);
    t.like(opened.tensors.get("a"), { dtype: "F32", shape: [2, 3], byteLength: 24 });
    t.is(opened.tensors.get("a")?.offset, opened.tensors.get("again")?.offset);
    t.deepEqual(await opened.read("a"), numbers);
    t.is((await opened.read("row")).readFloatLE(), 4);
    t.is((await opened.read("a", { start: 4, end: 8 })).readFloatLE(), 2);
    await t.throwsAsync(opened.read("b"), { message: /no tensor "b"/ });
    await t.throwsAsync(opened.read("a", { end: 25 }), { message: /no bytes 0 to 25/ });
    await opened.close();
});

test("storage types have their element types", async (t) => {
    const file = path.join(temporaryFolder(t), "x.bin");
    const types = {
        HalfStorage: "F16",
        BFloat16Storage: "BF16",
        DoubleStorage: "F64",
        LongStorage: "I64",
        BoolStorage: "BOOL"
    };
    for (const [storage, dtype] of Object.entries(types)) {
        writeFileSync(
            file,
            archive(stateDict({ a: tensor({ ...matrix, shape: [2], stride: [1], length: 2, storage }) }))
        );
        const opened = await openTorch(file);
        t.is(opened.tensors.get("a")?.dtype, dtype as "F16");
        await opened.close();
    }
});

test("zip64 sizes are read", async (t) => {
    const file = path.join(temporaryFolder(t), "x.bin");
    const members = [
        { name: "m/data.pkl", data: stateDict({ a: tensor(matrix) }), zip64: true },
        { name: "m/data/0", data: numbers, zip64: true }
    ];
    writeFileSync(file, zipArchive(members));
    const opened = await openTorch(file);
    t.deepEqual(await opened.read("a"), numbers);
    await opened.close();
});

test("zip64 end record is read, and refused where it is damaged", async (t) => {
    const file = path.join(temporaryFolder(t), "x.bin");
    const members = [
        { name: "m/data.pkl", data: stateDict({ a: tensor(matrix) }) },
        { name: "m/data/0", data: numbers }
    ];
    const bytes = zipArchive(members, true);
    writeFileSync(file, bytes);
    const opened = await openTorch(file);
    t.deepEqual(await opened.read("a"), numbers);
    await opened.close();
    // Places counted from the end: both signatures, the directory's size, the record's offset.
    for (const [at, message] of [
        [98, /no zip64 record/],
        [42, /no zip64 record/],
        [57, /not within the file/],
        [51, /beyond all files/],
        [33, /truncated/],
        [27, /beyond all files/]
    ] as const) {
        const damaged = Buffer.from(bytes);
        damaged[bytes.length - at]! ^= 0xff;
        writeFileSync(file, damaged);
        await t.throwsAsync(openTorch(file), { name: "ArmtError", message }, String(at));
    }
});

test("file cut anywhere is refused", async (t) => {
    const file = path.join(temporaryFolder(t), "x.bin");
    const bytes = archive(stateDict({ a: tensor(matrix) }));
    for (let length = 0; length < bytes.length; length++) {
        writeFileSync(file, bytes.subarray(0, length));
        await t.throwsAsync(openTorch(file), { name: "ArmtError", message: /x\.bin/ });
    }
});

test("one bit flipped in the pickle is noticed", async (t) => {
    const file = path.join(temporaryFolder(t), "x.bin");
    const bytes = archive(stateDict({ a: tensor(matrix) }));
    const start = bytes.indexOf("}(X");
    for (let bit = 0; bit < 400; bit++) {
        const damaged = Buffer.from(bytes);
        damaged[start + (bit >> 3)]! ^= 1 << (bit & 7);
        writeFileSync(file, damaged);
        await t.throwsAsync(openTorch(file), { name: "ArmtError", message: /checksum/ });
    }
});

const refused = test.macro({
    title: (name = "") => `refused: ${name}`,
    async exec(t, bytes: Buffer, message: RegExp) {
        const file = path.join(temporaryFolder(t), "x.bin");
        writeFileSync(file, bytes);
        await t.throwsAsync(openTorch(file), { name: "ArmtError", message });
    }
});

const dict = stateDict({ a: tensor(matrix) });
const one = (change: Partial<PickledTensor>) => archive(stateDict({ a: tensor({ ...matrix, ...change }) }));
test("legacy format", refused, Buffer.from("\x80\x02\x8a\x0al\xfc\x9cF\xf9", "latin1"), /legacy format/);
test("what is no archive", refused, Buffer.from("hello world"), /not a zip/);
test("compressed entry", refused, zipArchive([{ name: "m/data.pkl", data: dict, method: 8 }]), /is compressed/);
test("archive without pickle", refused, zipArchive([{ name: "m/x", data: dict }]), /0 entries `data\.pkl`/);
test("archive with two pickles", refused, archive(dict, { name: "n/data.pkl", data: dict }), /2 entries/);
test(
    "archive with one name twice",
    refused,
    archive(dict, { name: "model/data/0", data: numbers }),
    /two entries named "model\/data\/0"/
);
test(
    "big-endian archive",
    refused,
    archive(dict, { name: "model/byteorder", data: Buffer.from("big") }),
    /byte order "big"/
);
test("tensor without its entry", refused, one({ key: "../../etc/passwd" }), /"a": the archive has no entry/);
test("storage longer than its entry", refused, one({ length: 7 }), /"a": its storage has 24 bytes, expected 28/);
test("tensor beyond its storage", refused, one({ start: 1 }), /goes beyond storage "0"/);
test(
    "tensor whose extent overflows",
    refused,
    one({ shape: [2 ** 31 - 1, 2 ** 31 - 1], stride: [2 ** 31 - 1, 2 ** 31 - 1] }),
    /goes beyond/
);
test("transposed tensor", refused, one({ shape: [3, 2], stride: [1, 3] }), /"a" is not contiguous/);
test("pickle without tensors", refused, archive(stateDict({ step: "K\x01" })), /no tensors/);

test("both names of each layer tensor are in the authors' file", async (t) => {
    const golden = await readAuthorsGolden("llama-mha-tied-nocorr");
    const opened = await openTorch(path.join(golden.folder, "pytorch_model.bin"));
    const short = opened.tensors.get("memory_cell.layers.2.W_mv.weight");
    t.deepEqual(short, opened.tensors.get("memory_cell.model.model.layers.2.W_mv.weight"));
    t.true(Number.isFinite((await opened.read("memory_cell.memory")).readFloatLE()));
    await opened.close();
});

test("a flipped bit in a tensor's data is found, in whatever pieces it is read", async (t) => {
    const file = path.join(temporaryFolder(t), "x.bin");
    const whole = archive(stateDict({ a: tensor(matrix), again: tensor(matrix) }));
    const at = whole.indexOf(numbers) + 9;
    whole[at]! ^= 1;
    writeFileSync(file, whole);
    const opened = await openTorch(file);
    const damaged = { name: "ArmtError", message: /x\.bin": tensor "a" is damaged: its checksum is wrong/ };
    await t.throwsAsync(opened.read("a"), damaged);
    await opened.read("a", { start: 0, end: 12 });
    await t.throwsAsync(opened.read("a", { start: 12, end: 24 }), damaged);
    await t.throwsAsync(opened.read("again"), { message: /tensor "again" is damaged/ });
    await opened.close();
});
