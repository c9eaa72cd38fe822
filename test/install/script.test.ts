import path from "node:path";
import test from "ava";
import { runNode } from "../helpers/armt-command.js";
import { completeTools, makeTools } from "../helpers/fake-tools.js";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";

const script = path.join(repositoryRoot, "native", "build.mjs");

test("a missing tool ends the install step with one line and exit code 1", async (t) => {
    const { cmake: _, ...tools } = completeTools;
    const PATH = makeTools(path.join(temporaryFolder(t), "bin"), tools);
    const { code, stdout, stderr } = await runNode([script, "--check"], { env: { PATH } });
    t.is(code, 1);
    t.is(stdout, "");
    t.regex(stderr, /^armt build: CMake is missing.*\n$/);
});

test("a machine with all tools passes the check", async (t) => {
    const PATH = makeTools(path.join(temporaryFolder(t), "bin"), completeTools);
    const { code, stderr } = await runNode([script, "--check"], { env: { PATH } });
    t.is(stderr, "");
    t.is(code, 0);
});

test("an unknown option of the install step is a usage error", async (t) => {
    const { code, stderr } = await runNode([script, "--fast"]);
    t.is(code, 2);
    t.regex(stderr, /Unknown option '--fast'/);
});
