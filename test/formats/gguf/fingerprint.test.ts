import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import fc from "fast-check";
import { convertCheckpoint } from "../../../src/convert/convert.js";
import { validateArmtModel } from "../../../src/formats/gguf/armt-model.js";
import { verifyFingerprint } from "../../../src/formats/gguf/fingerprint.js";
import { makeTinyCheckpoint } from "../../../src/tiny/checkpoint.js";
import { propertySeed } from "../../helpers/property.js";
import { temporaryFolder } from "../../helpers/temporary.js";

async function tinyModel(folder: string): Promise<string> {
    const [checkpoint, output] = [path.join(folder, "checkpoint"), path.join(folder, "model.gguf")];
    await makeTinyCheckpoint(checkpoint, { layers: 1, hidden: 32, vocab: 40, tokenizer: false });
    await convertCheckpoint({ checkpoint, output, tokenizer: false });
    return output;
}

test("fingerprint tells any bit that is flipped, wherever it is", async (t) => {
    const folder = temporaryFolder(t);
    const model = await tinyModel(folder);
    const seen: number[] = [];
    await verifyFingerprint(model, (done, total) => seen.push(done / total));
    t.is(seen.at(-1), 1);
    const original = readFileSync(model);
    await fc.assert(
        fc.asyncProperty(fc.nat(original.length * 8 - 1), async (bit) => {
            const bytes = Buffer.from(original);
            bytes[bit >> 3]! ^= 1 << (bit & 7);
            writeFileSync(model, bytes);
            await t.throwsAsync(verifyFingerprint(model), { name: "ArmtError" }, `bit ${bit}`);
        }),
        { seed: propertySeed, numRuns: 300 }
    );
});

test("model whose head has bits flipped is refused or still valid, never a crash", async (t) => {
    const folder = temporaryFolder(t);
    const model = await tinyModel(folder);
    const original = readFileSync(model);
    const { length } = original.subarray(0, original.indexOf("blk.0.memory_b.bias"));
    let refused = 0;
    await fc.assert(
        fc.asyncProperty(fc.nat(length * 8 - 1), async (bit) => {
            const bytes = Buffer.from(original);
            bytes[bit >> 3]! ^= 1 << (bit & 7);
            writeFileSync(model, bytes);
            try {
                await validateArmtModel(model);
            } catch (error) {
                t.is((error as Error).name, "ArmtError", (error as Error).stack);
                refused++;
            }
        }),
        { seed: propertySeed, numRuns: 500 }
    );
    t.true(refused > 300);
});
