import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { convertCheckpoint } from "../../../src/convert/convert.js";
import { checkFiniteWeights } from "../../../src/formats/gguf/finite-weights.js";
import { openGguf } from "../../../src/formats/gguf/reader.js";
import { makeTinyCheckpoint } from "../../../src/tiny/checkpoint.js";
import { temporaryFolder } from "../../helpers/temporary.js";

/** A NaN and where it goes in the second row, for each type of weights. */
const cases = [
    ["f32", "0000c07f", 0],
    ["f32", "000080ff", 0],
    ["f16", "007e", 0],
    ["bf16", "80ff", 0],
    ["q8_0", "007c", 0]
] as const;

for (const [outType, number, offset] of cases)
    test(`a weight that is not finite is found: ${outType}, ${number}`, async (t) => {
        const folder = temporaryFolder(t);
        await makeTinyCheckpoint(path.join(folder, "checkpoint"), { layers: 1, vocab: 96, tokenizer: false });
        const output = path.join(folder, "model.gguf");
        await convertCheckpoint({ checkpoint: path.join(folder, "checkpoint"), output, outType });
        await t.notThrowsAsync(checkFiniteWeights(output));
        const gguf = await openGguf(output);
        const [name, tensor] = [...gguf.tensors].find(([, { type }]) => type.name === outType.toUpperCase())!;
        await gguf.close();
        const { blockBytes, blockSize } = tensor.type;
        const block = tensor.byteLength / blockBytes - 1;
        const bytes = readFileSync(output);
        bytes.write(number, tensor.offset + block * blockBytes + offset, "hex");
        writeFileSync(output, bytes);
        await t.throwsAsync(checkFiniteWeights(output), {
            name: "ArmtError",
            message: new RegExp(`"${name}" has a number that is not finite, near element ${block * blockSize};`)
        });
    });
