import { formatLength } from "../util/lengths.js";
import { type ChartLine, colours, logChart, svg, svgText } from "../util/svg.js";
import { textTable } from "../util/table.js";
import type { BenchResults, CaseName, DecodeGroup, DocumentsGroup, MeasuredCase, PromptGroup } from "./results.js";

/** The table that `armt bench` prints. */
export function benchTable(results: BenchResults): string {
    const { device, machine, settings, model } = results;
    const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
    const parts = [
        `${device}, ${settings.gpu === false ? threadsOf(settings) : settings.gpu}; ${model.name}, ${model.type}, ` +
            `${model.layers} layers\n`,
        `${versions.join(", ")}\nmedian of ${settings.runs} runs, lowest and highest in brackets\n\n`
    ];
    const prompts = results.groups.filter((group) => group.kind === "prompt");
    if (prompts.length > 0) parts.push(promptTable(prompts));
    const decodes = results.groups.filter((group) => group.kind === "decode");
    if (decodes.length > 0) parts.push(`${prompts.length > 0 ? "\n" : ""}${decodeTable(decodes)}`);
    const documents = results.groups.filter((group) => group.kind === "documents");
    if (documents.length > 0) parts.push(`${parts.length > 2 ? "\n" : ""}${documentsTable(documents)}`);
    const failures = results.groups.flatMap((group) => group.failures);
    parts.push(...new Set(failures.map(({ name, reason }) => `${name} was not measured: ${reason}\n`)));
    return parts.join("");
}

function promptTable(groups: readonly PromptGroup[]): string {
    const head = [
        "tokens",
        "segment",
        "case",
        "time",
        "spread",
        "tokens/s",
        "/ stock",
        "/ floor",
        "peak",
        "graphs",
        "reused",
        "replayed",
        ...(groups.some((group) => group.cases.some((one) => one.graphs?.fp8 !== undefined)) ? ["in FP8", "left"] : [])
    ];
    const lines = groups.flatMap((group) => [
        ...group.cases.map((one) => [
            formatLength(group.tokens),
            String(group.segmentSize),
            one.name,
            formatTime(one.milliseconds.median),
            spread(one),
            one.tokensPerSecond.toFixed(0),
            ratioTo(group, one.name),
            `${one.overFloor!.median.toFixed(2)}x`,
            formatBytes(one.deviceBytes ?? one.peakBytes),
            ...graphCells(one)
        ]),
        ...(["armt", "stock"] as const).map((name) => [
            formatLength(group.tokens),
            String(group.segmentSize),
            `floor, ${name === "armt" ? "ARMT" : "stock"}`,
            formatTime(group.floor.milliseconds[name]),
            `${(group.floor.rate.median / 1e9).toFixed(0)} G/s`,
            ((1000 * group.tokens) / group.floor.milliseconds[name]).toFixed(0)
        ])
    ]);
    return textTable(head, lines, 3);
}

function decodeTable(groups: readonly DecodeGroup[]): string {
    const head = ["decode", "segment", "case", "tokens/s", "spread, ms", "/ stock", "K/V tokens", "peak"];
    const lines = groups.flatMap((group) =>
        group.cases.map((one) => [
            `${group.sequences} seq.`,
            String(group.segmentSize),
            one.name,
            one.tokensPerSecond.toFixed(1),
            spread(one),
            ratioTo(group, one.name),
            String(group.kvTokens),
            formatBytes(one.deviceBytes ?? one.peakBytes)
        ])
    );
    return textTable(head, lines, 3);
}

function documentsTable(groups: readonly DocumentsGroup[]): string {
    const head = [
        "documents",
        "segment",
        "case",
        "time",
        "spread",
        "tokens/s",
        "/ sequential",
        "/ diagonal",
        "peak",
        "graphs",
        "reused",
        "replayed"
    ];
    const lines = groups.flatMap((group) => {
        const ratio = (one: MeasuredCase, other: CaseName) => {
            const found = group.ratios.find(({ name }) => name === `${one.name} / ${other}`);
            return found === undefined ? "" : `${found.median.toFixed(2)}x`;
        };
        return group.cases.map((one) => [
            String(group.documents.length),
            String(group.segmentSize),
            one.name === "together" ? `together, ${group.usedTextsPerLayer} a layer` : `${one.name}, in turn`,
            formatTime(one.milliseconds.median),
            spread(one),
            one.tokensPerSecond.toFixed(0),
            ratio(one, "sequential"),
            ratio(one, "diagonal"),
            formatBytes(one.deviceBytes ?? one.peakBytes),
            ...graphCells(one)
        ]);
    });
    return textTable(head, lines, 3);
}

function graphCells({ graphs }: MeasuredCase): string[] {
    if (graphs === undefined) return ["", "", ""];
    const { fp8 } = graphs;
    const counts = [graphs.graphs, graphs.reused, graphs.replayed];
    return [...counts, ...(fp8 === undefined ? [] : [fp8.computed, fp8.left])].map(String);
}

function spread({ milliseconds: { min, max } }: MeasuredCase): string {
    return `[${formatTime(min)} ${formatTime(max)}]`;
}

function threadsOf({ threads }: BenchResults["settings"]): string {
    return threads === 1 ? "1 thread" : `${threads} threads`;
}

/** Speedup over stock in the same rounds. */
function ratioTo(group: PromptGroup | DecodeGroup, name: CaseName): string {
    const ratio = group.ratios.find((one) => one.name === `${name} / stock`);
    return ratio === undefined ? "" : `${ratio.median.toFixed(2)}x`;
}

/** Time and peak memory by length, as two plots in one picture. */
export function benchPlot(results: BenchResults): string {
    const width = 720;
    const prompts = results.groups.filter((group) => group.kind === "prompt");
    const { model, device, settings } = results;
    const of = settings.gpu === false ? `${device}, ${threadsOf(settings)}` : device;
    const parts = [svgText(20, 24, `${model.name}, ${model.type}, on ${of}`, { weight: "bold", size: 14 })];
    const common = { width, height: 260, formatX: formatLength };
    const time = logChart(
        linesOf(prompts, (one) => one.milliseconds, true),
        {
            ...common,
            title: `Time to the first token by tokens read (median of ${settings.runs}, lowest and highest)`,
            top: 36,
            formatY: formatTime
        }
    );
    const memory = logChart(
        linesOf(prompts, (one) => {
            const bytes = one.deviceBytes ?? one.peakBytes;
            return { median: bytes, min: bytes, max: bytes };
        }),
        {
            ...common,
            title:
                settings.gpu === false
                    ? "Peak memory of the process, weights included"
                    : "Memory on the device, weights included",
            top: time.bottom + 10,
            formatY: formatBytes
        }
    );
    parts.push(...time.parts, ...memory.parts);
    return svg(width, Math.max(memory.bottom, 60), "Time and memory by tokens read", parts);
}

type Values = { median: number; min: number; max: number };

/**
 * One line for each segment size, even for stock: its time does not depend on the size, but it was measured again with
 * each one.
 */
function linesOf(
    groups: readonly PromptGroup[],
    valuesOf: (one: MeasuredCase) => Values,
    withFloor = false
): ChartLine[] {
    const lines: ChartLine[] = [];
    const segments = [...new Set(groups.map(({ segmentSize }) => segmentSize))].sort((a, b) => a - b);
    segments.forEach((segmentSize, i) => {
        const own = groups.filter((group) => group.segmentSize === segmentSize).sort((a, b) => a.tokens - b.tokens);
        const dash = i === 0 ? "" : `${2 + 4 * i} 3`;
        (["stock", "sequential", "diagonal", "sequential fp8", "diagonal fp8"] as const).forEach((name, j) => {
            const points = own.flatMap((group) => {
                const found = group.cases.find((one) => one.name === name);
                if (found === undefined) return [];
                const { median, min, max } = valuesOf(found);
                return [{ x: group.tokens, y: median, low: min, high: max }];
            });
            const label = name === "stock" ? "full attention (stock)" : `ARMT ${name}`;
            if (points.length > 0)
                lines.push({ name: `${label}, segments of ${segmentSize}`, points, colour: colours[j]!, dash });
        });
        if (withFloor)
            lines.push({
                name: `floor of ARMT: matrix products at the measured rate, segments of ${segmentSize}`,
                points: own.map(({ tokens, floor }) => ({ x: tokens, y: floor.milliseconds.armt })),
                colour: "#8c959f",
                dash: dash === "" ? "1 3" : dash
            });
    });
    return lines;
}

export function formatTime(milliseconds: number): string {
    if (milliseconds < 1000) return `${milliseconds.toFixed(milliseconds < 10 ? 2 : 0)} ms`;
    return milliseconds < 600_000
        ? `${(milliseconds / 1000).toFixed(1)} s`
        : `${(milliseconds / 60_000).toFixed(0)} min`;
}

export function formatBytes(bytes: number): string {
    return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(0)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}
