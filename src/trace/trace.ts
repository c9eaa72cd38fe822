import type { ArmtTraceStep, LlamaContextSequence, Token } from "../../plugin/index.js";
import { ArmtError } from "../util/errors.js";
import { seededRandom } from "../util/random.js";
import { textTable } from "../util/table.js";

/** How one prompt was computed. */
export interface Trace {
    readonly schedule: "sequential" | "diagonal";
    readonly tokens: number;
    readonly segmentSize: number;
    readonly layers: number;
    readonly steps: readonly ArmtTraceStep[];
}

/** Totals of a trace. Unit of times: milliseconds. */
export interface TraceSummary {
    readonly steps: number;
    readonly cells: number;
    readonly built: number;
    readonly replayed: number;
    /** Time from the start of the first step to the end of the last. */
    readonly wallMs: number;
    readonly buildMs: number;
    /** Ramp up, full width and ramp down: the steps before the widest ones, the widest, and those after them. */
    readonly up: StepTimes;
    readonly full: StepTimes;
    readonly down: StepTimes;
}

export interface StepTimes {
    readonly steps: number;
    readonly ms: number;
    readonly cells: number;
}

/**
 * Reads two random prompts and records each step of the second. The first prompt warms up weights and threads. It
 * leaves a graph that only the end of the second prompt could reuse.
 */
export async function traceRead(
    sequence: LlamaContextSequence,
    tokens: number,
    { layers, vocab, signal }: { layers: number; vocab: number; signal?: AbortSignal }
): Promise<Trace> {
    const { armt } = sequence;
    if (armt === undefined) throw new ArmtError("only ARMT models have a schedule to trace; this is a plain model");
    const { trace } = armt.context;
    const random = seededRandom(1, "trace");
    const read = async () => {
        const ids = Array.from({ length: tokens }, () => Math.floor(random() * vocab)) as Token[];
        await sequence.clearHistory();
        signal?.throwIfAborted();
        for await (const _ of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) break;
        signal?.throwIfAborted();
    };
    await read();
    trace.start();
    try {
        await read();
    } finally {
        // an incomplete recording is useless
        if (signal?.aborted) trace.stop();
    }
    const { schedule, segmentSize } = armt;
    return { schedule, tokens, segmentSize, layers, steps: trace.stop() };
}

/** The cells (layer, segment) of a step, in order of layers. */
export function cellsOf(step: ArmtTraceStep): { layer: number; segment: number }[] {
    return Array.from({ length: step.endLayer - step.firstLayer }, (_, i) => ({
        layer: step.firstLayer + i,
        segment: step.type === "diagonal" ? step.segment - i : step.segment
    }));
}

export function summarizeTrace({ steps }: Trace): TraceSummary {
    const widths = steps.map(({ firstLayer, endLayer }) => endLayer - firstLayer);
    const widest = Math.max(0, ...steps.filter(({ type }) => type === "diagonal").map((step) => cellsOf(step).length));
    const isFull = (step: ArmtTraceStep) => step.type === "diagonal" && step.endLayer - step.firstLayer === widest;
    const first = steps.findIndex(isFull);
    const last = steps.findLastIndex(isFull);
    const times = (from: number, to: number): StepTimes => {
        const part = steps.slice(from, to);
        return {
            steps: part.length,
            ms: part.reduce((sum, { timeMs }) => sum + timeMs, 0),
            cells: part.reduce((sum, step) => sum + cellsOf(step).length, 0)
        };
    };
    const end = steps.at(-1);
    return {
        steps: steps.length,
        cells: widths.reduce((sum, width) => sum + width, 0),
        built: steps.filter(({ reused }) => !reused).length,
        replayed: steps.filter(({ replayed }) => replayed).length,
        wallMs: end === undefined ? 0 : end.startMs + end.timeMs - steps[0]!.startMs,
        buildMs: steps.reduce((sum, { buildMs }) => sum + buildMs, 0),
        up: times(0, Math.max(0, first)),
        full: first < 0 ? times(0, steps.length) : times(first, last + 1),
        down: first < 0 ? times(0, 0) : times(last + 1, steps.length)
    };
}

/** The table that `armt trace` prints. */
export function traceTable(traces: readonly Trace[]): string {
    const stage = ({ steps, ms, cells }: StepTimes) =>
        steps === 0 ? "-" : `${ms.toFixed(1)} ms, ${steps} steps, ${cells} cells`;
    return textTable(
        ["schedule", "steps", "cells", "built", "replayed", "building", "all", "ramp up", "full", "ramp down"],
        traces.map((trace) => {
            const { steps, cells, built, replayed, buildMs, wallMs, up, full, down } = summarizeTrace(trace);
            return [
                trace.schedule,
                String(steps),
                String(cells),
                String(built),
                String(replayed),
                `${buildMs.toFixed(1)} ms`,
                `${wallMs.toFixed(1)} ms`,
                stage(up),
                stage(full),
                stage(down)
            ];
        })
    );
}
