import { readdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import fc from "fast-check";
import { type Dtype, dtypeSizes } from "../../../src/formats/safetensors/dtypes.js";
import { openSafetensors } from "../../../src/formats/safetensors/reader.js";
import { writeSafetensors } from "../../../src/formats/safetensors/writer.js";
import { propertySeed } from "../../helpers/property.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const tensor = fc
    .record({
        dtype: fc.constantFrom(...(Object.keys(dtypeSizes) as Dtype[])),
        shape: fc.array(fc.nat(4), { maxLength: 3 }),
        seed: fc.nat(255)
    })
    .map(({ dtype, shape, seed }) => {
        const length = shape.reduce((product, n) => product * n, dtypeSizes[dtype]);
        return { dtype, shape, data: Uint8Array.from({ length }, (_, i) => seed + i) };
    });

test("what is written is read back, each tensor aligned", async (t) => {
    const file = path.join(temporaryFolder(t), "x.safetensors");
    const names = fc.string({ unit: "grapheme" }).filter((name) => name !== "__metadata__");
    const tensors = fc.uniqueArray(fc.tuple(names, tensor), { selector: ([name]) => name, maxLength: 6 });
    const metadata = fc.dictionary(
        fc.string().filter((key) => key !== "__proto__"),
        fc.string(),
        { maxKeys: 3 }
    );
    await fc.assert(
        fc.asyncProperty(tensors, metadata, async (list, meta) => {
            await writeSafetensors(
                file,
                list.map(([name, rest]) => ({ name, ...rest })),
                meta
            );
            const opened = await openSafetensors(file);
            t.is(opened.tensors.size, list.length);
            t.deepEqual(new Map(opened.metadata), new Map(Object.entries(meta)));
            for (const [name, { dtype, shape, data }] of list) {
                const info = opened.tensors.get(name)!;
                t.like(info, { dtype, shape });
                t.is(info.offset % dtypeSizes[dtype], 0);
                t.deepEqual(new Uint8Array(await opened.read(name)), data);
            }
            await opened.close();
        }),
        { seed: propertySeed, numRuns: 50 }
    );
});

test("data may come in pieces", async (t) => {
    const file = path.join(temporaryFolder(t), "x.safetensors");
    async function* pieces() {
        yield new Float32Array([1]);
        yield new Float32Array([2, 3]);
    }
    await writeSafetensors(file, [{ name: "a", dtype: "F32", shape: [3], data: pieces() }]);
    const opened = await openSafetensors(file);
    t.is((await opened.read("a")).readFloatLE(8), 3);
    await opened.close();
});

test("failed write leaves the folder as it was", async (t) => {
    const folder = temporaryFolder(t);
    const file = path.join(folder, "x.safetensors");
    writeFileSync(file, "old");
    const short = { name: "a", dtype: "F32", shape: [2], data: new Float32Array(1) } as const;
    await t.throwsAsync(writeSafetensors(file, [short]), { message: /"a": got 4 bytes of data, expected 8/ });
    await t.throwsAsync(writeSafetensors(file, [], {}, { overwrite: false }), { message: /the file exists/ });
    t.deepEqual(readdirSync(folder), ["x.safetensors"]);
    await t.throwsAsync(writeSafetensors(path.join(folder, "no", "x"), []), { message: /cannot write.*no such file/ });
});

test("name used twice is refused", async (t) => {
    const file = path.join(temporaryFolder(t), "x.safetensors");
    const one = { name: "a", dtype: "U8", shape: [1], data: new Uint8Array(1) } as const;
    await t.throwsAsync(writeSafetensors(file, [one, one]), { message: /"a" is used twice/ });
});
