import { readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { listBlocks, title } from "../helpers/docs/blocks.js";
import { armtCalls, commandsOf, parseArmt, Shell } from "../helpers/docs/shell.js";
import { Workshop } from "../helpers/docs/workshop.js";
import { repositoryRoot } from "../helpers/repository.js";

const blocks = listBlocks().filter(({ language }) => language === "sh");
const { scripts } = JSON.parse(readFileSync(path.join(repositoryRoot, "package.json"), "utf8"));
const workshop = await Workshop.make();

test("the command line accepts every call of armt on every page", async (t) => {
    let calls = 0;
    for (const block of blocks)
        for (const command of commandsOf(block.text))
            for (const call of armtCalls(command)) {
                calls++;
                await t.notThrowsAsync(parseArmt(call), title(block));
            }
    t.true(calls > 20);
});

test("every call of armt is recognized", (t) => {
    for (const block of blocks)
        for (const command of commandsOf(block.text))
            t.is(
                armtCalls(command).length,
                command.match(/(?<=^|[\s|&;])(npx armt|run -s armt)(?=\s)/g)?.length ?? 0,
                command
            );
});

test("every `npm run` names a script", (t) => {
    for (const block of blocks)
        for (const [, name = ""] of block.text.matchAll(/npm run (?:-s )?([\w:-]+)/g))
            t.true(name in scripts, title(block));
});

test("a call with an unknown option is refused", async (t) => {
    await t.throwsAsync(parseArmt(["run", "model.gguf", "--speed", "3"]), { message: /speed/ });
    await t.throwsAsync(parseArmt(["run", "model.gguf", "--schedule", "random"]), { message: /random/ });
    await t.throwsAsync(parseArmt(["walk", "model.gguf"]));
});

const runs = blocks.filter(({ reason }) => reason === undefined);
runs.forEach((block, index) => {
    test.serial(`${title(block)} runs`, async (t) => {
        const shell = new Shell(workshop.copy(`shell-${index}`));
        try {
            for (const command of commandsOf(block.text)) await t.notThrowsAsync(shell.run(command));
        } finally {
            await shell.end();
        }
    });
});
