import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { checkTarget } from "../../src/cli/read/check-target.js";
import type { ReadOptions } from "../../src/cli/read/options.js";
import { type GivenRunOptions, placeArguments } from "../../src/cli/run/arguments.js";
import { nameModels } from "../../src/cli/shared/named-models.js";
import { readPrompt } from "../../src/cli/shared/prompt.js";
import { readConfigs } from "../../src/convert/configs.js";
import { checkModelFile } from "../../src/model/check-model-file.js";
import { temporaryFolder } from "../helpers/temporary.js";

test("an empty prompt is wrong usage, and an empty file is bad input", async (t) => {
    const file = path.join(temporaryFolder(t), "empty.txt");
    writeFileSync(file, "");
    const { prompt } = placeArguments({ input: [""] } as GivenRunOptions);
    t.is(prompt, "");
    await t.throwsAsync(readPrompt({ prompt }), { name: "UsageError", message: /the prompt is empty/ });
    await t.throwsAsync(readPrompt({ file }), { name: "ArmtError", message: /empty\.txt" is empty; a prompt needs/ });
});

test("a checkpoint's folder in place of a model file is named, with what to do", async (t) => {
    const folder = path.join(temporaryFolder(t), "checkpoint");
    mkdirSync(folder);
    t.is(placeArguments({ input: [folder, "a text"] } as GivenRunOptions).model, folder);
    const message = /checkpoint".* with `armt convert`$/;
    await t.throwsAsync(checkModelFile(folder), { name: "ArmtError", message });
    await t.throwsAsync(nameModels([folder]), { name: "ArmtError", message });
});

test("a checkpoint that is missing is reported as missing, not as one without a config.json", async (t) => {
    const checkpoint = path.join(temporaryFolder(t), "nothing");
    await t.throwsAsync(readConfigs({ checkpoint }), { message: /^cannot read ".*nothing": no such file or folder$/ });
});

test("read says which memory it does not replace, and does not take a folder for one", async (t) => {
    const folder = temporaryFolder(t);
    const out = path.join(folder, "notes.armt");
    writeFileSync(out, "notes");
    const options = (more: Partial<ReadOptions>) => ({ out, files: ["-"], force: false, ...more }) as ReadOptions;
    await t.throwsAsync(checkTarget(options({})), {
        message: /notes\.armt" exists and is not a memory file; .*--force/
    });
    await t.throwsAsync(checkTarget(options({ out: folder })), { message: /^cannot write .*not a regular file$/ });
});
