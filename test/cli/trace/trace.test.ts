import { readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { runArmt } from "../../helpers/armt-command.js";
import { temporaryFolder } from "../../helpers/temporary.js";

// a CPU that packs the weights runs no diagonal
const env = { ARMT_CPU_EXTRA_BUFFERS: "0" };

test("armt trace draws both schedules, and writes picture, page and Chrome trace", async (t) => {
    const folder = temporaryFolder(t);
    const at = (name: string) => path.join(folder, name);
    t.is((await runArmt(["tiny", at("tiny"), "--segment-size", "32", "--layers", "3"])).code, 0);
    t.is((await runArmt(["convert", at("tiny"), at("tiny.gguf")])).code, 0);
    const common = ["trace", "-m", at("tiny.gguf"), "--threads", "1", "--tokens", "200"];
    const files = ["--svg", at("t.svg"), "--html", at("t.html"), "--chrome", at("t.json")];
    const { code, stdout, stderr } = await runArmt([...common, ...files], { env });
    t.is(code, 0, stderr);
    t.regex(stdout, /\nsequential +7 +21 .*\ndiagonal +9 +21 /);
    t.regex(readFileSync(at("t.svg"), "utf8"), /^<svg .*diagonal: 200 tokens in segments of 32.*<\/svg>\n$/s);
    t.regex(readFileSync(at("t.html"), "utf8"), /^<!doctype html>.*<\/html>\n$/s);
    const { traceEvents } = JSON.parse(readFileSync(at("t.json"), "utf8"));
    t.is(traceEvents.filter(({ cat }: { cat?: string }) => cat === "cell").length, 42);
    const one = await runArmt([...common, "--schedule", "diagonal"], { env });
    t.is(one.stdout.trimEnd().split("\n").length, 2, one.stderr);
    t.is(one.stderr, "");

    const packed = await runArmt(common);
    const isNoted = /the diagonal schedule is not drawn: .*ARMT_CPU_EXTRA_BUFFERS=0/.test(packed.stderr);
    t.is(isNoted, !/^diagonal /m.test(packed.stdout), packed.output);
});

test("armt trace refuses a length that is none", async (t) => {
    const { code, stderr } = await runArmt(["trace", "--tokens", "many"]);
    t.is(code, 2);
    t.regex(stderr, /--tokens: "many" is not a length/);
});
