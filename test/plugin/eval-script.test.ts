import { execFile, spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import test from "ava";

const script = `
    const { getLlama } = await import(${JSON.stringify(new URL("../../plugin/index.js", import.meta.url))});
    const llama = await getLlama({ build: "never" });
    console.log("started", llama.gpu, JSON.stringify(process.execArgv));
    await llama.dispose();
`;

test("getLlama takes the prebuilt library in a module given to node --eval", async (t) => {
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script, "a text"]);
    t.regex(stdout, /^started \S+ \["--input-type=module","--eval",/);
});

test("getLlama takes the prebuilt library in a module that comes by standard input", async (t) => {
    const child = spawn(process.execPath, ["--input-type", "module", "-"]);
    child.stdin.end(script);
    const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
    t.is(stderr, "");
    t.regex(stdout, /^started \S+ \["--input-type","module"\]/);
});
