import { formatLength } from "../../util/lengths.js";
import { colours, svg, svgPolyline, svgText as text } from "../../util/svg.js";
import { textTable } from "../../util/table.js";
import { depthParts, type MemoryRow } from "./measure.js";
import { percent, type Share } from "./share.js";

/** Results of one model in one task. */
export interface MemorySeries {
    readonly model: string;
    /** The task and the form of its questions; absent where a command has only one. */
    readonly task?: string;
    readonly rows: readonly MemoryRow[];
}

/** The table that a command prints. */
export function memoryTable(series: readonly MemorySeries[]): string {
    const hasTask = series.some(({ task }) => task !== undefined);
    const hasBase = series.some(({ rows }) => rows.some(({ baseAlone }) => baseAlone !== undefined));
    const head = [
        "model",
        ...(hasTask ? ["task"] : []),
        "tokens",
        "recall",
        "95 % interval",
        "right",
        "without memory",
        ...(hasBase ? ["base alone"] : []),
        "tokens/s",
        "process"
    ];
    const lines = series.flatMap(({ model, task = "", rows }) =>
        rows.map((row) => [
            model,
            ...(hasTask ? [task] : []),
            formatLength(row.tokens),
            percent(row.recall),
            `${percent(row.interval[0])} - ${percent(row.interval[1])}`,
            countOf(row),
            percent(row.withoutMemory.recall),
            ...(hasBase ? [row.baseAlone ? percent(row.baseAlone.recall) : "-"] : []),
            row.tokensPerSecond.toFixed(0),
            `${(row.processBytes / 2 ** 20).toFixed(0)} MiB`
        ])
    );
    return textTable(head, lines, hasTask ? 2 : 1);
}

/** Right of all; an answer that is partly right counts as that part. */
function countOf({ right, asked }: Share): string {
    return `${Number(right.toFixed(2))}/${asked}`;
}

function nameOf({ model, task }: MemorySeries): string {
    return task === undefined ? model : `${model}, ${task}`;
}

const width = 640;
const left = 70;
const right = 20;
const lineTop = 40;
const lineHeight = 220;
const cellHeight = 22;

/**
 * A self-contained SVG: recall by length as lines, and by length and depth as a heat map for each model and task.
 * @param title the subject of the questions, e.g. "planted facts"
 */
export function memoryPlot(series: readonly MemorySeries[], title: string): string {
    const lengths = [...new Set(series.flatMap(({ rows }) => rows.map(({ tokens }) => tokens)))].sort((a, b) => a - b);
    const step = (width - left - right) / lengths.length;
    const x = (tokens: number) => left + (lengths.indexOf(tokens) + 0.5) * step;
    const y = (recall: number) => lineTop + (1 - recall) * lineHeight;
    const parts: string[] = [text(left, 20, `Recall of ${title}, by tokens read`, { weight: "bold" })];
    for (const level of [0, 0.25, 0.5, 0.75, 1]) {
        parts.push(`<line x1="${left}" x2="${width - right}" y1="${y(level)}" y2="${y(level)}" stroke="#d0d7de"/>`);
        parts.push(text(left - 8, y(level) + 4, `${level * 100} %`, { anchor: "end" }));
    }
    for (const tokens of lengths)
        parts.push(text(x(tokens), lineTop + lineHeight + 18, formatLength(tokens), { anchor: "middle" }));
    series.forEach((one, i) => {
        const { rows } = one;
        const colour = colours[i % colours.length]!;
        parts.push(
            svgPolyline(
                rows.map((row) => [x(row.tokens), y(row.recall)]),
                colour,
                ""
            )
        );
        parts.push(
            svgPolyline(
                rows.map((row) => [x(row.tokens), y(row.withoutMemory.recall)]),
                colour,
                "4 4"
            )
        );
        for (const row of rows) {
            parts.push(
                `<line x1="${x(row.tokens)}" x2="${x(row.tokens)}" y1="${y(row.interval[0])}" ` +
                    `y2="${y(row.interval[1])}" stroke="${colour}"/>`
            );
            parts.push(`<circle cx="${x(row.tokens)}" cy="${y(row.recall)}" r="4" fill="${colour}"/>`);
        }
        parts.push(
            text(left, lineTop + lineHeight + 40 + 16 * i, `${nameOf(one)} (dashed: without memory)`, { colour })
        );
    });
    let top = lineTop + lineHeight + 60 + 16 * series.length;
    for (const one of series) {
        const { rows } = one;
        parts.push(text(left, top, `${nameOf(one)}: by depth in the text`, { weight: "bold" }));
        top += 12;
        for (const row of rows)
            row.byDepth.forEach((share, depth) => {
                parts.push(heatCell(x(row.tokens) - step / 2, top + depth * cellHeight, step, share));
            });
        for (let depth = 0; depth < depthParts; depth++)
            parts.push(
                text(left - 8, top + depth * cellHeight + 15, `${Math.round((100 * depth) / depthParts)} %`, {
                    anchor: "end"
                })
            );
        top += depthParts * cellHeight + 16;
        for (const row of rows) parts.push(text(x(row.tokens), top, formatLength(row.tokens), { anchor: "middle" }));
        top += 30;
    }
    return svg(width, top, "Recall by tokens read and by depth", parts);
}

function heatCell(x: number, y: number, step: number, share: Share): string {
    const { asked, recall } = share;
    const shade = asked === 0 ? "#f6f8fa" : `hsl(${Math.round(120 * recall)} 60% ${75 - 20 * recall}%)`;
    const label = asked === 0 ? "" : text(x + step / 2, y + 15, countOf(share), { anchor: "middle" });
    return `<rect x="${x + 1}" y="${y + 1}" width="${step - 2}" height="${cellHeight - 2}" fill="${shade}"/>${label}`;
}
