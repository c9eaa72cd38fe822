import { textTable } from "../util/table.js";
import { MEMORY_FACTOR, type SegmentDifference } from "./compare.js";

/** Result of `armt verify`. */
export type VerifyReport = {
    model: string;
    checkpoint: string;
    baseArchitecture: string;
    /** Least precise type among the file's large matrices. */
    type: string;
    /** GPU that the engine ran on, or `false` for the CPU. Tolerances are meant for the CPU. */
    gpu: string | false;
    /** Largest relative difference of logits that passes. Memory may differ by twice as much. */
    tolerance: number;
    segments: SegmentDifference[];
    /** Relative differences of each layer's memory after the last segment; `z` only if the model has it. */
    memories: { layer: number; a: number; z?: number }[];
    /** First layer whose memory differs by more than the tolerance; `undefined` if there is none. */
    firstBadLayer: number | undefined;
    passed: boolean;
};

/** Decides whether the comparison passes. */
export function judge(parts: Omit<VerifyReport, "firstBadLayer" | "passed">): VerifyReport {
    const { tolerance, segments, memories } = parts;
    // not `>`, since NaN must fail
    const firstBadLayer = memories.find(({ a, z = 0 }) => ![a, z].every((part) => part <= MEMORY_FACTOR * tolerance));
    const passed = firstBadLayer === undefined && segments.every(({ relative }) => relative <= tolerance);
    return { ...parts, firstBadLayer: firstBadLayer?.layer, passed };
}

/** The report as a table. */
export function reportText(report: VerifyReport): string {
    const { segments, memories, tolerance, type, firstBadLayer, passed } = report;
    const lines = segments.map(({ tokens, maxAbs, relative, kl, top1 }, i) => [
        String(i + 1),
        String(tokens),
        short(maxAbs),
        short(relative),
        short(kl),
        `${(100 * top1).toFixed(1)} %`
    ]);
    const worst = memories.reduce(
        (a, b) => (largest(b) > largest(a) || Number.isNaN(largest(b)) ? b : a),
        memories[0]!
    );
    const where = firstBadLayer === undefined ? "" : `; the first layer that is off is ${firstBadLayer}`;
    return [
        textTable(["segment", "tokens", "max abs", "relative", "KL (nats)", "same top 1"], lines),
        `memory: relative difference at most ${short(largest(worst))} (layer ${worst.layer} of ` +
            `${memories.length})${where}\n`,
        `tolerance for ${type}: relative ${tolerance}: ${passed ? "passed" : "FAILED"}\n`
    ].join("\n");
}

/** Explains in one line why the comparison failed. */
export function failureText({ model, checkpoint, gpu, firstBadLayer, segments, tolerance }: VerifyReport): string {
    const bad = segments.findIndex(({ relative }) => !(relative <= tolerance));
    const what =
        bad < 0
            ? "its memory differs"
            : `the logits of segment ${bad + 1} differ by ${short(segments[bad]!.relative)} of their spread, ` +
              `tolerance ${tolerance}`;
    const layer = firstBadLayer === undefined ? "" : `; the first layer whose memory is off is ${firstBadLayer}`;
    if (gpu !== false)
        return (
            `${model} gives other results on ${gpu} than ${checkpoint}: ${what}${layer}. GPUs multiply ` +
            "in fewer bits than the CPU, for which the tolerances are; verify with `--gpu off`"
        );
    return (
        `${model} does not compute what ${checkpoint} does: ${what}${layer}. Were the variant's flags those of ` +
        "training, and is the checkpoint the one that was converted?"
    );
}

function largest({ a, z = 0 }: VerifyReport["memories"][number]): number {
    return Number.isNaN(a) || Number.isNaN(z) ? Number.NaN : Math.max(a, z);
}

function short(value: number): string {
    return Number.isFinite(value) ? value.toExponential(1) : String(value);
}
