import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { plainModelName } from "../../src/convert/metadata.js";
import { openGguf } from "../../src/formats/gguf/reader.js";
import { makeTiny } from "../helpers/tiny-checkpoint.js";

/** A checkpoint whose files are links into another folder, as in Hugging Face's cache. */
async function linkedCheckpoint(t: ExecutionContext, weights: string): Promise<string> {
    const folder = await makeTiny(t);
    const [blobs, snapshot] = [path.join(folder, "blobs"), path.join(folder, "snapshot")];
    const names = readdirSync(folder);
    for (const place of [blobs, snapshot]) mkdirSync(place);
    for (const [i, name] of names.entries()) {
        renameSync(path.join(folder, name), path.join(blobs, String(i)));
        const shown = name === "model.safetensors" ? weights : name;
        symlinkSync(path.join("..", "blobs", String(i)), path.join(snapshot, shown));
    }
    return snapshot;
}

for (const weights of ["model.safetensors", "renamed.safetensors"])
    test(`a folder of symbolic links converts, ${weights}`, async (t) => {
        const checkpoint = await linkedCheckpoint(t, weights);
        const output = path.join(checkpoint, "..", "x.gguf");
        await convertCheckpoint({ checkpoint, output, tokenizer: false });
        const gguf = await openGguf(output);
        t.true(gguf.tensors.size > 0);
        await gguf.close();
    });

test("a link without its file is named", async (t) => {
    const checkpoint = await linkedCheckpoint(t, "model.safetensors");
    rmSync(path.join(checkpoint, "..", "blobs"), { recursive: true });
    await t.throwsAsync(convertCheckpoint({ checkpoint, output: path.join(checkpoint, "x.gguf") }), {
        name: "ArmtError",
        message: /config\.json" is a symbolic link to a file that does not exist/
    });
});

test("names that llama.cpp goes by are written apart", (t) => {
    t.is(plainModelName("Notes"), "Notes");
    t.is(plainModelName("My Phi-3 and phi3"), "My Phi 3 and phi 3");
    t.is(plainModelName("ModERN-bert"), "ModERN bert");
});
