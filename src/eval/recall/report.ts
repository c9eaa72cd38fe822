import { formatLength } from "../../util/lengths.js";
import { colours, svg, svgPolyline, svgText as text } from "../../util/svg.js";
import { textTable } from "../../util/table.js";
import { depthParts, type RecallRow, type Share } from "./measure.js";

/** Results of one model. */
export interface ModelRecall {
    readonly model: string;
    readonly rows: readonly RecallRow[];
}

/** The table that `armt eval recall` prints. */
export function recallTable(models: readonly ModelRecall[]): string {
    const head = ["model", "tokens", "recall", "95 % interval", "right", "without memory", "tokens/s", "process"];
    const lines = models.flatMap(({ model, rows }) =>
        rows.map((row) => [
            model,
            formatLength(row.tokens),
            percent(row.recall),
            `${percent(row.interval[0])} - ${percent(row.interval[1])}`,
            `${row.right}/${row.asked}`,
            percent(row.withoutMemory.recall),
            row.tokensPerSecond.toFixed(0),
            `${(row.processBytes / 2 ** 20).toFixed(0)} MiB`
        ])
    );
    return textTable(head, lines);
}

function percent(value: number): string {
    return `${(100 * value).toFixed(1)} %`;
}

const width = 640;
const left = 70;
const right = 20;
const lineTop = 40;
const lineHeight = 220;
const cellHeight = 22;

/** A self-contained SVG: recall by length as lines, and by length and depth as a heat map for each model. */
export function recallPlot(models: readonly ModelRecall[]): string {
    const lengths = [...new Set(models.flatMap(({ rows }) => rows.map(({ tokens }) => tokens)))].sort((a, b) => a - b);
    const step = (width - left - right) / lengths.length;
    const x = (tokens: number) => left + (lengths.indexOf(tokens) + 0.5) * step;
    const y = (recall: number) => lineTop + (1 - recall) * lineHeight;
    const parts: string[] = [text(left, 20, "Recall of planted facts, by tokens read", { weight: "bold" })];
    for (const level of [0, 0.25, 0.5, 0.75, 1]) {
        parts.push(`<line x1="${left}" x2="${width - right}" y1="${y(level)}" y2="${y(level)}" stroke="#d0d7de"/>`);
        parts.push(text(left - 8, y(level) + 4, `${level * 100} %`, { anchor: "end" }));
    }
    for (const tokens of lengths)
        parts.push(text(x(tokens), lineTop + lineHeight + 18, formatLength(tokens), { anchor: "middle" }));
    models.forEach(({ model, rows }, i) => {
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
        parts.push(text(left, lineTop + lineHeight + 40 + 16 * i, `${model} (dashed: without memory)`, { colour }));
    });
    let top = lineTop + lineHeight + 60 + 16 * models.length;
    for (const { model, rows } of models) {
        parts.push(text(left, top, `${model}: by depth of the fact in the text`, { weight: "bold" }));
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

function heatCell(x: number, y: number, step: number, { asked, right, recall }: Share): string {
    const shade = asked === 0 ? "#f6f8fa" : `hsl(${Math.round(120 * recall)} 60% ${75 - 20 * recall}%)`;
    const label = asked === 0 ? "" : text(x + step / 2, y + 15, `${right}/${asked}`, { anchor: "middle" });
    return `<rect x="${x + 1}" y="${y + 1}" width="${step - 2}" height="${cellHeight - 2}" fill="${shade}"/>${label}`;
}
