import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { runNode } from "../helpers/armt-command.js";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";

const script = path.join(repositoryRoot, "docs/images/rooms.mjs");

test("the picture of the rooms shows the imports as they are", async (t) => {
    const drawn = path.join(temporaryFolder(t), "rooms.svg");
    const { code, stderr } = await runNode([script, drawn]);
    t.is(code, 0, stderr);
    const committed = readFileSync(path.join(repositoryRoot, "docs/images/rooms.svg"), "utf8");
    t.true(readFileSync(drawn, "utf8") === committed, "run `node docs/images/rooms.mjs`");
});

/** A repository of one file in src/util, which imports another. */
function makeRepository(folder: string, source: string): void {
    for (const name of ["plugin", "bench", "src/util"]) mkdirSync(path.join(folder, name), { recursive: true });
    writeFileSync(path.join(folder, "src/util/files.ts"), source);
}

test("an import that points up is reported with both files", async (t) => {
    const folder = temporaryFolder(t);
    makeRepository(folder, 'import type { Engine } from "../server/engine/Engine.js";\n');
    const { code, stderr } = await runNode([script, path.join(folder, "rooms.svg"), folder]);
    t.is(code, 1);
    t.regex(stderr, /src\/util\/files\.ts -> src\/server\/engine\/Engine\.ts/);
});

test("a folder that is no room is reported", async (t) => {
    const folder = temporaryFolder(t);
    makeRepository(folder, 'import { help } from "../helpers/help.js";\n');
    const { code, stderr } = await runNode([script, path.join(folder, "rooms.svg"), folder]);
    t.is(code, 1);
    t.regex(stderr, /src\/helpers\/help\.ts is in no room/);
});
