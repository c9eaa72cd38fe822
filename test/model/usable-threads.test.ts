import test from "ava";
import { availableCores } from "../../plugin/native/threads.js";
import { runArmt } from "../helpers/armt-command.js";

test("more threads than usable cores are reported and not used", async (t) => {
    const args = ["run", "Hi there", "-n", "1", "--no-cache"];
    const { code, stderr } = await runArmt([...args, "--threads", "4096"]);
    t.is(code, 0, stderr);
    t.true(stderr.startsWith(`--threads 4096: more threads than usable cores`), stderr);
    t.regex(stderr, new RegExp(`; ${availableCores()} used\n`));
});
