import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import test, { type ExecutionContext } from "ava";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";

type OpenTerminal = (env: NodeJS.ProcessEnv, terminal?: string) => (line: string) => void;
const { openTerminal }: { openTerminal: OpenTerminal } = await import(
    path.join(repositoryRoot, "native/install/terminal.mjs")
);

const npm = { npm_lifecycle_event: "install", npm_config_user_agent: "npm/11.6.0 node/v24.9.0 linux x64" };

function shownWith(t: ExecutionContext, env: NodeJS.ProcessEnv): string {
    const file = path.join(temporaryFolder(t), "terminal");
    writeFileSync(file, "");
    openTerminal(env, file)("armt build: 25 %");
    return readFileSync(file, "utf8");
}

test("npm's user reads the lines on the terminal, since npm hides the output", (t) => {
    t.is(shownWith(t, npm), "\r\u001b[Karmt build: 25 %\n");
});

test("nothing is said twice where the output is shown, and nothing where silence is wanted", (t) => {
    t.is(shownWith(t, {}), "");
    t.is(shownWith(t, { ...npm, npm_config_foreground_scripts: "true" }), "");
    t.is(shownWith(t, { ...npm, npm_config_loglevel: "silent" }), "");
    t.is(shownWith(t, { ...npm, npm_config_user_agent: "pnpm/10.0.0 npm/? node/v24.9.0 linux x64" }), "");
});

test("the build continues without a terminal", (t) => {
    t.notThrows(() => openTerminal(npm, path.join(temporaryFolder(t), "none"))("armt build: 25 %"));
});
