import path from "node:path";
import type { TinyOptions } from "../../src/tiny/options.js";
import { runNode } from "../helpers/armt-command.js";
import { loadTiny } from "../helpers/contexts.js";
import { preloading } from "../helpers/fail-allocation.js";
import { testWith } from "../helpers/needs.js";
import { repositoryRoot } from "../helpers/repository.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { buildOffsetCheck, canCheckOffsets, readOffsets } from "../helpers/view-offsets.js";

const offsetsProcess = path.join(repositoryRoot, "dist/test/helpers/offsets-process.js");
const offsetsTest = testWith({
    needs: "Linux, a C compiler and llama.cpp's source",
    available: canCheckOffsets,
    inCi: true
});

/** Models whose graphs differ in views, and whether RoPE takes a part of the positions in them. */
const models: Record<string, { options: TinyOptions; part: boolean }> = {
    "layers of two rope bases": {
        options: {
            family: "gemma3_text",
            headDim: 24,
            config: {
                layer_types: ["sliding_attention", "full_attention", "sliding_attention"],
                rope_parameters: {
                    full_attention: { rope_theta: 5000, rope_type: "linear", factor: 4 },
                    sliding_attention: { rope_theta: 50, rope_type: "default" }
                }
            }
        },
        part: true
    },
    "2 memory heads, gating": { options: { nHeads: 2, gating: true }, part: false },
    "heads of their own size": { options: { family: "qwen3", heads: 4, kvHeads: 1, headDim: 24 }, part: false },
    "a window and a sink": { options: { slidingWindow: true, sink: true }, part: true },
    "the previous text again": { options: { rereadsPrevious: true }, part: false }
};

for (const [name, { options, part }] of Object.entries(models))
    offsetsTest(`graphs have no offset that a kernel of Vulkan cannot take, ${name}`, async (t) => {
        t.timeout(300_000);
        // a layer's rows are no multiple of the alignment
        const { file } = await loadTiny(t, { layers: 3, segmentSize: 12, memTokens: 5, ...options });
        const env = preloading(buildOffsetCheck(temporaryFolder(t)));
        const { code, stderr } = await runNode([offsetsProcess, file], { env });
        t.is(code, 0, stderr);
        const offsets = readOffsets(stderr);
        t.log(offsets);
        t.is(offsets?.wrong, 0, stderr);
        t.true(offsets!.graphs > 0);
        t.is(offsets!.copied > 0, part);
    });
