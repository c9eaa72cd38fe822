import test from "ava";
import { ProgressReporter } from "../../plugin/context/progress.js";
import type { ArmtProgress } from "../../plugin/index.js";
import { noStats } from "../helpers/fake-addon.js";
import { until } from "../helpers/until.js";

test("reports count from the start of the prompt, never go back, and end with all tokens", async (t) => {
    let stats = { ...noStats, tokens: 100, segmentsClosed: 10, cells: 40 };
    const reports: ArmtProgress[] = [];
    let looks = 0;
    const readStats = () => {
        looks++;
        return stats;
    };
    const reporter = new ProgressReporter((report) => reports.push(report), readStats, 64);
    for (const tokens of [116, 116, 132, 120]) {
        stats = { ...stats, tokens, segmentsClosed: 11, cells: 44 };
        const before = looks;
        await until(() => looks > before, `the reporter looks while ${tokens} tokens are read`);
    }
    stats = { ...stats, tokens: 164, segmentsClosed: 14, cells: 56 };
    reporter.end(true);
    t.deepEqual(reports[0], { tokensDone: 16, tokensTotal: 64, segments: 1, cells: 4 });
    t.deepEqual(reports.at(-1), { tokensDone: 64, tokensTotal: 64, segments: 4, cells: 16 });
    t.deepEqual(
        reports.map(({ tokensDone }) => tokensDone),
        [16, 32, 64]
    );
});

test("a prompt that failed gets no last report", (t) => {
    const reports: ArmtProgress[] = [];
    const reporter = new ProgressReporter(
        (report) => reports.push(report),
        () => noStats,
        8
    );
    reporter.end(false);
    t.deepEqual(reports, []);
});
