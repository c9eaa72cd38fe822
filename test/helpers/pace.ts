import { stopwatch } from "../../src/util/stopwatch.js";

/** What {@link sample} takes on the machine that the limits were set on. Unit: milliseconds. */
const usual = 8;

/** Work of the kind that the tests measure: objects, texts, sorting and JSON. */
function sample(): void {
    const items = Array.from({ length: 10_000 }, (_, i) => ({ name: `item ${(i * 48_271) % 10_007}`, i }));
    items.sort((a, b) => (a.name < b.name ? -1 : 1));
    JSON.parse(JSON.stringify(items));
}

/**
 * A limit for computing, as this machine keeps it now: the given one, or more if the machine is slower, or slowed down
 * by the other work on it or by the measuring of coverage.
 * @param limit computing time on the machine that the limit was set on. Unit: milliseconds
 */
export function paced(limit: number): number {
    let fastest = Number.POSITIVE_INFINITY;
    // the first runs are slower, since the code is not compiled yet
    for (let run = 0; run < 3; run++) {
        const spent = stopwatch();
        sample();
        fastest = Math.min(fastest, spent());
    }
    return limit * Math.max(1, fastest / usual);
}
