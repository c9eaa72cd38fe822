import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { Token } from "../plugin/index.js";
import type { ResolvedShape } from "../src/bench/shapes.js";
import { type WeightType, writeSyntheticModel } from "../src/bench/synthetic.js";
import { seededRandom } from "../src/util/random.js";

/**
 * Calls `work` with the file of a random model.
 * @param given a file that is there already. Default: one is written, and removed after the work
 */
export async function withRandomModel<T>(
    { shape, type, given }: { shape: ResolvedShape; type: WeightType; given?: string },
    work: (file: string) => Promise<T>
): Promise<T> {
    if (given !== undefined) return await work(given);
    const folder = await mkdtemp(path.join(os.tmpdir(), "armt-bench-"));
    try {
        const file = path.join(folder, "model.gguf");
        await writeSyntheticModel({ shape, type, output: file });
        return await work(file);
    } finally {
        await rm(folder, { recursive: true });
    }
}

/** Random token ids in pieces, so that a text of any length takes no memory. The same arguments give the same text. */
export function* randomTokens(
    total: number,
    vocab: number,
    name: string,
    piece = 8192
): Generator<Token[], void, void> {
    const random = seededRandom(1, name);
    for (let done = 0; done < total; done += piece)
        yield Array.from({ length: Math.min(piece, total - done) }, () => Math.floor(random() * vocab) as Token);
}
