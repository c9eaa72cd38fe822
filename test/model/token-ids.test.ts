import { writeFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import { checkTokenIds, readTokenIds } from "../../src/model/token-ids.js";
import { ArmtError } from "../../src/util/errors.js";
import { temporaryFolder } from "../helpers/temporary.js";

test("a JSON array of integers is read", async (t) => {
    const file = path.join(temporaryFolder(t), "ids.json");
    writeFileSync(file, " [5, 0,\n 7]\n");
    t.deepEqual(await readTokenIds(file), [5, 0, 7]);
});

const refused = test.macro({
    async exec(t, content: string, message: RegExp) {
        const file = path.join(temporaryFolder(t), "ids.json");
        writeFileSync(file, content);
        await t.throwsAsync(readTokenIds(file), { instanceOf: ArmtError, message });
    },
    title: (_, content) => `${JSON.stringify(content)} is not a list of token ids`
});
test(refused, "", /is not JSON/);
test(refused, "[1, 2", /is not JSON/);
test(refused, '{"ids": [1]}', /must be a JSON array/);
test(refused, "[1, 2.5]", /entry 1 \("2\.5"\) is not an integer/);
test(refused, '[1, "2"]', /entry 1/);
test(refused, "[1, null]", /entry 1/);
test(refused, "[1e999]", /entry 0/);

test("ids outside the vocabulary are named with their position", (t) => {
    t.notThrows(() => checkTokenIds([0, 9], 10));
    t.throws(() => checkTokenIds([0, 10], 10), { message: /token id 10 at position 1.*0 to 9/ });
    t.throws(() => checkTokenIds([-1], 10), { message: /token id -1 at position 0/ });
    t.throws(() => checkTokenIds([], 10), { message: /the prompt is empty/ });
});
