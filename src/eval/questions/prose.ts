import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { recallFolder } from "../../util/assets.js";
import type { Draw } from "./Draw.js";

/** Passages of prose, each split into sentences. */
export type Prose = readonly (readonly string[])[];

/** Fewest and most sentences in a row. */
const run = [2, 12] as const;

/** Reads the prose of the recall task, which no training of this project reads. */
export async function readProse(): Promise<Prose> {
    const text = gunzipSync(await readFile(new URL("filler.txt.gz", recallFolder))).toString("utf8");
    return text
        .split("\n")
        .map((passage) => passage.split(/(?<=[.?!]) (?=[A-Z])/).filter((part) => part !== ""))
        .filter((passage) => passage.length > 0);
}

/** Some sentences of a passage in a row. */
export function proseRun(prose: Prose, draw: Draw): readonly string[] {
    const passage = draw.from(prose);
    const start = draw.integer(0, passage.length - 1);
    return passage.slice(start, start + draw.integer(...run));
}

/** Endless prose. */
export function* proseFiller(prose: Prose, draw: Draw): Generator<string, never, void> {
    for (;;) yield* proseRun(prose, draw);
}
