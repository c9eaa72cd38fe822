import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { ArmtModelError } from "../../plugin/errors.js";
import { readModelInfo } from "../../plugin/model/model-file.js";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { writePlainModel } from "../helpers/plain-model.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { makeTiny } from "../helpers/tiny-checkpoint.js";

/** A converted model with some of its bytes changed. */
async function makeModel(t: ExecutionContext, change: (bytes: Buffer) => void = () => {}): Promise<string> {
    const file = path.join(temporaryFolder(t), "model.gguf");
    await convertCheckpoint({ checkpoint: await makeTiny(t, { segmentSize: 16 }), output: file, tokenizer: false });
    const bytes = readFileSync(file);
    change(bytes);
    writeFileSync(file, bytes);
    return file;
}

/** Offset of a key's value: its name and its type come before it. */
function valueOffset(bytes: Buffer, key: string): number {
    const at = bytes.indexOf(key);
    if (at < 0) throw new Error(`the file has no key ${key}`);
    return at + key.length + 4;
}

test("the info comes from the file's keys", async (t) => {
    const info = await readModelInfo(await makeModel(t));
    t.like(info, {
        baseArchitecture: "llama",
        segmentSize: 16,
        segmentAlignment: "left",
        memoryTokens: 4,
        keyLength: 8,
        sinkTokens: 0,
        seesPreviousSegment: false,
        rereadsPreviousSegment: false,
        layers: 3,
        embeddingLength: 32,
        vocabSize: 40
    });
    t.regex(info!.fingerprint, /^[0-9a-f]{64}$/);
});

test("a plain model has no info", async (t) => {
    const file = path.join(temporaryFolder(t), "plain.gguf");
    await writePlainModel(file);
    t.is(await readModelInfo(file), undefined);
});

test("a file that is not a GGUF file is refused", async (t) => {
    const file = path.join(temporaryFolder(t), "text.gguf");
    writeFileSync(file, "just text, and no more than that");
    await t.throwsAsync(readModelInfo(file), { instanceOf: ArmtModelError, message: /not a GGUF file/ });
});

const refused = test.macro({
    title: (name = "") => `refused: ${name}`,
    async exec(t, key: string, change: (bytes: Buffer) => void, message: RegExp) {
        const file = await makeModel(t, change);
        const error = await t.throwsAsync(readModelInfo(file), { instanceOf: ArmtModelError, message });
        t.is(error.key, key);
    }
});

test(
    "a missing key",
    refused,
    "armt.memory.token_count",
    (bytes) => bytes.write("cound", bytes.indexOf("armt.memory.token_count") + "armt.memory.token_".length),
    /"armt\.memory\.token_count" is missing/
);
test(
    "a key with a wrong value",
    refused,
    "armt.segment_alignment",
    // the length of the string comes before its text
    (bytes) => bytes.write("lift", valueOffset(bytes, "armt.segment_alignment") + 8),
    /"armt\.segment_alignment" is "lift", expected left, right, center/
);
test(
    "a file of a later format",
    refused,
    "armt.format_version",
    (bytes) => bytes.writeUInt32LE(6, valueOffset(bytes, "armt.format_version")),
    /"armt\.format_version" is 6, expected 1 to 5; update/
);
