import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import test from "ava";
import { loadTiny } from "../helpers/contexts.js";

const growthProcess = fileURLToPath(new URL("../helpers/growth-process.js", import.meta.url));
const MiB = 2 ** 20;

for (const schedule of ["sequential", "diagonal"] as const) {
    test.serial(`memory does not grow with the context, ${schedule}`, async (t) => {
        t.timeout(600_000);
        const { file } = await loadTiny(t, { layers: 2, hidden: 32, segmentSize: 128 });
        const run = promisify(execFile)(process.execPath, [
            "--expose-gc",
            // V8's young generation grows if collections lag, so the load of the machine would be measured
            "--max-semi-space-size=1",
            growthProcess,
            file,
            schedule,
            "4096",
            "131072"
        ]);
        const { before, after, tokens } = JSON.parse((await run).stdout) as Record<
            "before" | "after" | "tokens",
            number
        >;
        t.is(tokens, 131_072);
        const growth = (after - before) / MiB;
        t.log(`${growth.toFixed(1)} MiB more for 126,976 further tokens`);
        t.true(growth <= 8, `${growth.toFixed(1)} MiB`);
    });
}
