import path from "node:path";
import test from "ava";
import { listBlocks, namedAddress, title } from "../helpers/docs/blocks.js";
import { Program } from "../helpers/docs/program.js";
import { Workshop } from "../helpers/docs/workshop.js";
import { runProcess } from "../helpers/process.js";
import { ServerProcess } from "../helpers/server-process.js";

const workshop = await Workshop.make();
const server = await ServerProcess.start(["serve", "model.gguf"], { cwd: workshop.path("files") });
test.after.always(() => server.stop());

const blocks = listBlocks()
    .filter(({ language, reason }) => (language === "ts" || language === "js") && reason === undefined)
    .map((block) => ({ ...block, text: block.text.replaceAll(namedAddress, new URL(server.url).host) }));
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
        const { code, output } = await runProcess(process.execPath, [program.script(index)], {
            cwd,
            env,
            timeout: 280_000
        });
        t.is(code, 0, output);
    });
});
