import { planSegments } from "../../../plugin/context/segments.js";
import type { LlamaContextSequence, Token } from "../../../plugin/index.js";
import { ArmtError } from "../../util/errors.js";
import { type ChartLine, colours, logChart, svg } from "../../util/svg.js";
import { textTable } from "../../util/table.js";
import { readLosses } from "./losses.js";

/** Loss over a range of tokens. */
export interface Loss {
    readonly tokens: number;
    /** Mean of -ln p of the actual next token. Unit: nats. */
    readonly mean: number;
    /** Standard error of the mean. Unit: nats. */
    readonly standardError: number;
    readonly perplexity: number;
}

/** Results for one range of the text, given by the positions of the predicted tokens. */
export interface PerplexityPart {
    /** Positions of the first and last token, from 0. */
    readonly from: number;
    readonly to: number;
    readonly withMemory: Loss;
    /** The same tokens, each predicted from its own segment alone. */
    readonly withoutMemory: Loss;
    /** What memory gains: the mean difference of the losses, token by token. Unit: nats. */
    readonly gain: Loss["mean"];
    readonly gainStandardError: number;
}

export interface Perplexity {
    readonly tokens: number;
    readonly segmentSize: number;
    readonly total: PerplexityPart;
    /** The first segment, the second, then ranges that double in length. */
    readonly parts: readonly PerplexityPart[];
}

export interface PerplexityOptions {
    signal?: AbortSignal;
    /** Called with the number of tokens read so far and in total, over both passes. */
    onProgress?: (done: number, total: number) => void;
}

/**
 * Reads a text twice, once normally and once with the memory cleared before each segment, and compares how well the
 * model predicts each next token. The logits of token t score token t + 1; token t is in the same segment in both
 * passes. Nothing predicts the first token.
 * @throws {ArmtError} for a text of fewer than two tokens
 */
export async function measurePerplexity(
    sequence: LlamaContextSequence,
    ids: readonly Token[],
    { signal, onProgress }: PerplexityOptions = {}
): Promise<Perplexity> {
    const { armt } = sequence;
    if (armt === undefined) throw new ArmtError("perplexity is measured on ARMT models; this is a plain model");
    if (ids.length < 2) throw new ArmtError(`the text has ${ids.length} tokens; perplexity takes two at least`);
    const { segmentSize } = armt;
    let done = 0;
    const read = (tokens: readonly Token[], start: number, losses: Float64Array) =>
        readLosses(sequence, tokens, {
            ids,
            start,
            losses,
            signal,
            onTokens: (count) => {
                done += count;
                onProgress?.(done, 2 * ids.length);
            }
        });
    const withMemory = new Float64Array(ids.length - 1);
    const withoutMemory = new Float64Array(ids.length - 1);
    await sequence.clearHistory();
    await read(ids, 0, withMemory);
    // the model's own segment boundaries, which alignment may move
    for (const { start, end } of segmentsOf(ids.length, segmentSize, sequence.model.armt!.segmentAlignment)) {
        await sequence.clearHistory();
        await read(ids.slice(start, end), start, withoutMemory);
    }
    const part = (from: number, to: number) => compare(withMemory, withoutMemory, from, to);
    return {
        tokens: ids.length,
        segmentSize,
        total: part(0, withMemory.length),
        parts: stretches(withMemory.length, segmentSize).map(([from, to]) => part(from, to))
    };
}

function segmentsOf(
    tokens: number,
    segmentSize: number,
    alignment: "left" | "right" | "center"
): { start: number; end: number }[] {
    const { first, each } = planSegments(alignment, tokens, segmentSize);
    const segments = [];
    for (let start = 0, end = first; start < tokens; start = end, end += each)
        segments.push({ start, end: Math.min(end, tokens) });
    return segments;
}

function stretches(losses: number, segmentSize: number): [from: number, to: number][] {
    const result: [number, number][] = [];
    for (let from = 0, to = segmentSize; from < losses; from = to, to *= 2) result.push([from, Math.min(to, losses)]);
    return result;
}

/** Compares the losses in a range; loss i is that of token i + 1. */
function compare(withMemory: Float64Array, withoutMemory: Float64Array, from: number, to: number): PerplexityPart {
    const a = withMemory.subarray(from, to);
    const b = withoutMemory.subarray(from, to);
    const gain = statistics(b.map((value, i) => value - a[i]!));
    return {
        from: from + 1,
        to,
        withMemory: lossOver(a),
        withoutMemory: lossOver(b),
        gain: gain.mean,
        gainStandardError: gain.standardError
    };
}

function lossOver(losses: Float64Array): Loss {
    const { mean, standardError } = statistics(losses);
    return { tokens: losses.length, mean, standardError, perplexity: Math.exp(mean) };
}

function statistics(values: Float64Array): { mean: number; standardError: number } {
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
    const standardError = values.length < 2 ? 0 : Math.sqrt(squares / (values.length - 1) / values.length);
    return { mean, standardError };
}

/** The table that `armt eval perplexity` prints. */
export function perplexityTable({ parts, total }: Perplexity): string {
    const row = (name: string, { withMemory, withoutMemory, gain, gainStandardError }: PerplexityPart) => [
        name,
        String(withMemory.tokens),
        withMemory.perplexity.toFixed(3),
        withoutMemory.perplexity.toFixed(3),
        `${gain.toFixed(4)} ± ${(1.96 * gainStandardError).toFixed(4)}`
    ];
    return textTable(
        ["tokens", "scored", "perplexity", "without memory", "gain, nats (95 %)"],
        [...parts.map((part) => row(`${part.from} - ${part.to}`, part)), row("all", total)]
    );
}

/** Plots perplexity by position in the text. */
export function perplexityPlot(model: string, { parts, segmentSize }: Perplexity): string {
    const line = (name: string, kind: "withMemory" | "withoutMemory", colour: string, dash = ""): ChartLine => ({
        name,
        colour,
        dash,
        points: parts.map((part) => {
            const { mean, standardError } = part[kind];
            const at = (z: number) => Math.exp(mean + z * standardError);
            return { x: part.to, y: at(0), low: at(-1.96), high: at(1.96) };
        })
    });
    const width = 640;
    const { parts: drawn, bottom } = logChart(
        [line("with memory", "withMemory", colours[0]), line("each segment alone", "withoutMemory", colours[1], "4 4")],
        {
            title: `Perplexity of ${model} up to a token, segments of ${segmentSize} (bars: 95 %)`,
            top: 8,
            width,
            height: 240,
            formatX: String,
            formatY: (value) => value.toFixed(value < 10 ? 2 : 0)
        }
    );
    return svg(width, bottom, "Perplexity by place in the text", drawn);
}
