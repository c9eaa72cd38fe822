import { spawn } from "node:child_process";
import path from "node:path";
import test from "ava";
import { listBlocks, title } from "../helpers/docs/blocks.js";
import { Program } from "../helpers/docs/program.js";
import { namedAddress, ServeProcess } from "../helpers/docs/server.js";
import { Workshop } from "../helpers/docs/workshop.js";

const workshop = await Workshop.make();
const server = await ServeProcess.start(["serve", "model.gguf"], workshop.path("files"));
test.after.always(() => server.stop());

const blocks = listBlocks()
    .filter(({ language, reason }) => (language === "ts" || language === "js") && reason === undefined)
    .map((block) => ({ ...block, text: block.text.replaceAll(namedAddress, server.address) }));
const program = new Program(workshop.path("program"), blocks);
const errors = program.compile();

test("all blocks compile against the published types", (t) => {
    t.true(blocks.length > 10);
    t.is(errors, "");
});

blocks.forEach((block, index) => {
    test.serial(`${title(block)} runs`, async (t) => {
        const cwd = workshop.copy(`code-${index}`);
        const env = { ...process.env, XDG_CACHE_HOME: path.join(cwd, ".cache") };
        const { code, output } = await run([program.script(index)], cwd, env);
        t.is(code, 0, output);
    });
});

function run(args: string[], cwd: string, env: NodeJS.ProcessEnv): Promise<{ code: number | null; output: string }> {
    return new Promise((resolve, reject) => {
        const child = spawn(process.execPath, args, { cwd, env, timeout: 30_000 });
        let output = "";
        const collect = (data: Buffer) => {
            output += String(data);
        };
        child.stdout.on("data", collect);
        child.stderr.on("data", collect);
        child.on("error", reject);
        child.on("close", (code) => resolve({ code, output }));
    });
}
