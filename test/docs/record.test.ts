import { existsSync, readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { runNode } from "../helpers/armt-command.js";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";

const recorder = path.join(repositoryRoot, "docs/images/record.mjs");

/** When a text appears, in seconds from the start of the recording, and its kind. */
function stateOf(svg: string, text: string): { at: number; kind: string } {
    const length = Number(/animation:([\d.]+)s/.exec(svg)?.[1]);
    const [, id, kind = ""] = new RegExp(
        `<text id="(s\\d+)"[^>]*?(?: class="([^"]*)")? xml:space="preserve">${text}<`
    ).exec(svg)!;
    const frames = new RegExp(`@keyframes ${id}\\{(?:0%\\{opacity:0\\})?([\\d.]+)%`).exec(svg)!;
    return { at: (Number(frames[1]) / 100) * length, kind };
}

test("a recording shows the output of commands at the time they printed it, and stays on the last frame", async (t) => {
    const file = path.join(temporaryFolder(t), "r.svg");
    const command = String.raw`printf 'one & two\n10 percent'; sleep 3; printf '\r\033[Kdone\n'`;
    const { code, stderr } = await runNode([recorder, file, command, "echo three"]);
    t.is(code, 0, stderr);
    const svg = readFileSync(file, "utf8");
    const one = stateOf(svg, "one &amp; two");
    const bar = stateOf(svg, "10 percent");
    const done = stateOf(svg, "done");
    t.is(one.kind, "");
    t.is(bar.kind, "p");
    t.is(done.kind, "");
    t.true(done.at - one.at >= 0.5, `${one.at} ${done.at}`);
    t.true(stateOf(svg, "three").at > done.at);
    t.is(stateOf(svg, String.raw`\$ echo three`).kind, "c");
    t.regex(svg, /prefers-reduced-motion/);
});

test("a command that fails leaves no picture", async (t) => {
    const file = path.join(temporaryFolder(t), "r.svg");
    const { code, stderr } = await runNode([recorder, file, "echo oh no; exit 3"]);
    t.is(code, 1);
    t.regex(stderr, /ended with exit code 3: oh no/);
    t.false(existsSync(file));
});
