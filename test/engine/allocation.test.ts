import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { loadTiny } from "../helpers/contexts.js";
import { buildFailingAllocator, canFailAllocations, preloading } from "../helpers/fail-allocation.js";
import { testWith } from "../helpers/needs.js";
import { temporaryFolder } from "../helpers/temporary.js";

const allocationProcess = fileURLToPath(new URL("../helpers/allocation-process.js", import.meta.url));
const allocationTest = testWith({ needs: "Linux and a C compiler", available: canFailAllocations(), inCi: true });

type Attempt = { failed: boolean; tokens?: number[]; message?: string; after: number[] };

for (const schedule of ["sequential", "diagonal"] as const)
    allocationTest(`a failed allocation is an error, and the next context works, ${schedule}`, async (t) => {
        t.timeout(600_000);
        const { file } = await loadTiny(t, { layers: 2, hidden: 128, segmentSize: 256 });
        const { stdout } = await promisify(execFile)(process.execPath, [allocationProcess, file, schedule], {
            env: preloading(buildFailingAllocator(temporaryFolder(t)))
        });
        const attempts = stdout
            .trim()
            .split("\n")
            .map((line) => JSON.parse(line) as Attempt);
        const whole = attempts.at(-1)!;
        t.false(whole.failed);
        t.is(whole.tokens?.length, 3);
        const failed = attempts.slice(0, -1);
        t.log(`${failed.length} allocations`);
        // the memory and the graph at least
        t.true(failed.length >= 2, String(failed.length));
        t.true(failed.some(({ message }) => message !== undefined));
        for (const { tokens, message, after } of failed) {
            // llama.cpp may do without a buffer
            if (tokens !== undefined) t.deepEqual(tokens, whole.tokens);
            else t.notRegex(message ?? "\n", /\n/);
            t.deepEqual(after, whole.tokens);
        }
    });
