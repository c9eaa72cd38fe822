import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import {
    type BabilongRow,
    babilongPlot,
    babilongTable,
    findBabilong,
    isRight,
    labelsOf,
    readBabilong
} from "../../../src/eval/babilong/babilong.js";
import { temporaryFolder } from "../../helpers/temporary.js";

const samples = [
    { input: "", question: "Where is Mary?", target: "bathroom" },
    { input: "", question: "Where is the milk?", target: "kitchen" },
    { input: "", question: "Where was the milk before the kitchen?", target: "garden" },
    { input: "", question: "What does John carry?", target: "milk,football" }
];

test("an answer is right where it names the target and no other label", (t) => {
    const labels = labelsOf(samples);
    t.deepEqual([...labels], ["bathroom", "kitchen", "garden", "milk", "football"]);
    const [mary, milk, before, carries] = samples;
    for (const [sample, answer, right] of [
        [mary, "bathroom", true],
        [mary, " The BATHROOM. She was in the kitchen before", true],
        [mary, "bathroom\nkitchen", true],
        [mary, "kitchen", false],
        [mary, "bathroom or kitchen", false],
        [mary, "bathrooms", false],
        [mary, "", false],
        // named by the question
        [milk, "The milk is in the kitchen", true],
        [before, "before the kitchen it was in the garden", true],
        [carries, "football and milk", true],
        [carries, "milk", false]
    ] as const)
        t.is(isRight(answer, sample!, labels), right, answer);
});

test("data are found in folders of lengths, in a flat folder and in one file, in their natural order", async (t) => {
    const folder = temporaryFolder(t);
    for (const length of ["16k", "0k", "4k"]) {
        mkdirSync(path.join(folder, length));
        for (const task of ["qa10", "qa2"])
            writeFileSync(path.join(folder, length, `${task}.json`), JSON.stringify(samples));
    }
    writeFileSync(path.join(folder, "notes.txt"), "");
    const names = async (data: string) => (await findBabilong(data)).map(({ length, task }) => `${length}/${task}`);
    t.deepEqual(await names(folder), ["0k/qa2", "0k/qa10", "4k/qa2", "4k/qa10", "16k/qa2", "16k/qa10"]);
    t.deepEqual(await names(path.join(folder, "4k")), ["/qa2", "/qa10"]);
    t.deepEqual(await names(path.join(folder, "4k", "qa2.json")), ["/qa2"]);
    t.deepEqual(await readBabilong(path.join(folder, "4k", "qa2.json")), samples);
    await t.throwsAsync(findBabilong(path.join(folder, "none")), { message: /cannot read .*none/ });
});

test("a file that is none is refused by name", async (t) => {
    const folder = temporaryFolder(t);
    await t.throwsAsync(findBabilong(folder), { message: /has no <length>\/<task>\.json/ });
    const file = path.join(folder, "qa1.json");
    for (const [text, message] of [
        ["{", /qa1\.json.* is not JSON/],
        ["[]", /must be a JSON list/],
        ['{"a": 1}', /must be a JSON list/],
        [
            '[{"input": "a", "question": "b", "target": "c"}, {"input": "a", "target": "c"}]',
            /entry 1 has no text `question`/
        ],
        ["[null]", /entry 0 has no text `input`/]
    ] as const) {
        writeFileSync(file, text);
        await t.throwsAsync(readBabilong(file), { message });
    }
});

test("table and plot have a line and a cell for each file", (t) => {
    const row = (length: string, task: string): BabilongRow => ({
        length,
        task,
        asked: 4,
        right: 3,
        recall: 0.75,
        interval: [0.3, 0.95],
        withoutMemory: { asked: 4, right: 1, recall: 0.25 },
        tokens: 4000,
        tokensPerSecond: 1234,
        answers: []
    });
    const rows = [row("4k", "qa1"), row("8k", "qa1"), row("4k", "qa2")];
    t.regex(
        babilongTable(rows),
        /\n4k +qa1 +3\/4 +75\.0 % +30\.0 % - 95\.0 % +25\.0 % +4000 +1234\n8k +qa1 .*\n4k +qa2 /
    );
    t.is(babilongPlot("m.gguf", rows).match(/75\.0 %/g)?.length, 3);
});
