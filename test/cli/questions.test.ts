import { writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { runArmt } from "../helpers/armt-command.js";
import { loadRecallModel, recallText } from "../helpers/recall.js";
import { temporaryFolder } from "../helpers/temporary.js";

test("a memory with a nearly full open segment is asked on a clean segment, unless an option says otherwise", async (t) => {
    const folder = temporaryFolder(t);
    const [file, memory] = [path.join(folder, "text.txt"), path.join(folder, "text.armt")];
    const { text, questions } = await recallText(await loadRecallModel(t), 5, 120, 1);
    writeFileSync(file, text);
    const threads = ["--threads", "1"];
    const read = await runArmt(["read", file, "-o", memory, ...threads]);
    t.is(read.code, 0, read.stderr);
    const ask = async (question: string, ...options: string[]) => {
        const { code, stdout, stderr } = await runArmt(["ask", memory, question, "-n", "12", ...threads, ...options]);
        t.is(code, 0, stderr);
        return stdout.trim();
    };
    const some = questions.slice(0, 4);
    let [closed, open] = [0, 0];
    for (const { text: question, expected } of some) {
        if ((await ask(question)) === expected) closed++;
        if ((await ask(question, "--no-close-before-question")) === expected) open++;
    }
    t.log({ closed, open }, some.length);
    t.true(some.length >= 3);
    t.true(closed >= some.length - 1, `${closed} of ${some.length}`);
    t.true(open < closed - 1, `${open} of ${some.length}`);
});
