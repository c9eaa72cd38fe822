import { readdirSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { convertCheckpoint } from "../../src/convert/convert.js";
import { systemErrorText } from "../../src/util/errors.js";

import { runProcess } from "../helpers/process.js";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { makeTiny } from "../helpers/tiny-checkpoint.js";

const script = path.join(repositoryRoot, "dist/test/helpers/shell-limits-process.js");
const unixTest = process.platform === "win32" ? test.skip : test;

unixTest("beyond `ulimit -f`, a memory and any other file are an error, and the program continues", async (t) => {
    const model = path.join(temporaryFolder(t), "model.gguf");
    await convertCheckpoint({ checkpoint: await makeTiny(t, { layers: 1 }), output: model });
    const folder = temporaryFolder(t);
    const args = [script, model, path.join(folder, "a.armt"), path.join(folder, "b")];
    // a report of coverage would be too large as well
    const line = 'ulimit -f 4; unset NODE_V8_COVERAGE; exec "$@"';
    const { code, stdout, stderr } = await runProcess("bash", ["-c", line, "sh", process.execPath, ...args]);
    t.is(code, 0, stderr);
    const tooLarge = systemErrorText(Object.assign(new Error(), { code: "EFBIG" }));
    t.deepEqual(JSON.parse(stdout), [`cannot write "${path.join(folder, "a.armt")}": ${tooLarge}`, tooLarge]);
    t.deepEqual(readdirSync(folder), ["b"]);
});
