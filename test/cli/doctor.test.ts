import path from "node:path";
import test from "ava";
import { runArmt } from "../helpers/armt-command.js";
import { completeTools, makeTools } from "../helpers/fake-tools.js";
import { temporaryFolder } from "../helpers/temporary.js";

test("doctor finds everything that is needed to run the engine", async (t) => {
    const { code, stdout, stderr } = await runArmt(["doctor"]);
    t.is(stderr, "");
    t.is(code, 0);
    for (const name of ["Node.js", "platform", "cores", "packages", "build tools", "build", "engine", "CPU backend"])
        t.regex(stdout, new RegExp(`^ok +${name} `, "m"));
    t.regex(stdout, /loaded from \S+libllama\S+\.so/);
    t.regex(stdout, /CPU backend +libggml-cpu-\w+\.so/);
});

test("doctor takes missing build tools for a warning once the engine is built", async (t) => {
    const { "c++": _, ...tools } = completeTools;
    const PATH = makeTools(path.join(temporaryFolder(t), "bin"), tools);
    const { code, stdout } = await runArmt(["doctor"], { env: { PATH } });
    t.is(code, 0);
    t.regex(stdout, /^warning +build tools +no C\+\+ compiler was found/m);
});
