import { describeStep } from "./picture.js";
import { cellsOf, type Trace } from "./trace.js";

/** An event of the Trace Event Format, which Perfetto and chrome://tracing read. Unit: microseconds. */
interface TraceEvent {
    readonly ph: "X" | "M";
    readonly name: string;
    readonly pid: number;
    readonly tid: number;
    readonly ts?: number;
    readonly dur?: number;
    readonly cat?: string;
    readonly args?: Record<string, unknown>;
}

/**
 * Converts all steps to the Trace Event Format: one process for each schedule, with a thread for each layer and one for
 * the graphs.
 */
export function chromeTrace(traces: readonly Trace[]): { traceEvents: TraceEvent[]; displayTimeUnit: "ms" } {
    const events = traces.flatMap((trace, pid): TraceEvent[] => [
        { ph: "M", name: "process_name", pid, tid: 0, args: { name: trace.schedule } },
        { ph: "M", name: "thread_name", pid, tid: 0, args: { name: "graphs" } },
        ...Array.from({ length: trace.layers }, (_, layer): TraceEvent => {
            return { ph: "M", name: "thread_name", pid, tid: layer + 1, args: { name: `layer ${layer}` } };
        }),
        ...trace.steps.flatMap((step): TraceEvent[] => {
            const ts = 1000 * step.startMs;
            const compute = { ts: ts + 1000 * step.buildMs, dur: 1000 * (step.timeMs - step.buildMs) };
            return [
                {
                    ph: "X",
                    cat: "graph",
                    name: step.reused ? (step.replayed ? "replay" : "reuse") : "build",
                    pid,
                    tid: 0,
                    ts,
                    dur: 1000 * step.timeMs,
                    args: { step: describeStep(step), buildMs: step.buildMs, outputs: step.outputs }
                },
                ...cellsOf(step).map(({ layer, segment }): TraceEvent => {
                    return {
                        ph: "X",
                        cat: "cell",
                        name: `segment ${segment}`,
                        pid,
                        tid: layer + 1,
                        ...compute,
                        args: { layer, segment }
                    };
                })
            ];
        })
    ]);
    return { traceEvents: events, displayTimeUnit: "ms" };
}
