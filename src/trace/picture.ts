import type { ArmtTraceStep } from "../../plugin/index.js";
import { escapeMarkup, svg, svgText } from "../util/svg.js";
import { cellsOf, summarizeTrace, type Trace } from "./trace.js";

const left = 70;
const right = 20;
const width = 1100;
const captionHeight = 40;
/** Height of the marks above the cells, which show built and replayed graphs. */
const markHeight = 8;

/** Most steps that a picture shows; the Chrome trace has all. */
export const maxSteps = 1500;

/** Draws cells by layer and time, one trace below the other, on one time scale. A step's width is its duration. */
export function tracePicture(title: string, traces: readonly Trace[]): string {
    const shown = traces.map((trace) => ({ ...trace, steps: trace.steps.slice(0, maxSteps) }));
    const span = Math.max(1e-6, ...shown.map((trace) => summarizeTrace(trace).wallMs));
    const scale = (width - left - right) / span;
    const parts = [svgText(20, 24, title, { weight: "bold", size: 14 })];
    let top = 44;
    for (const [i, trace] of shown.entries()) {
        const rowHeight = Math.max(6, Math.min(20, Math.floor(320 / trace.layers)));
        parts.push(...panel(trace, traces[i]!.steps.length, top, rowHeight, scale));
        top += captionHeight + markHeight + trace.layers * rowHeight + 30;
    }
    parts.push(...axis(top - 12, span, scale));
    parts.push(
        `<rect x="${left}" y="${top + 22}" width="10" height="6" fill="#cf222e"/>`,
        svgText(left + 16, top + 29, "graph built"),
        `<rect x="${left + 110}" y="${top + 22}" width="10" height="6" fill="#1a7f37"/>`,
        svgText(left + 126, top + 29, "graph replayed by the GPU"),
        svgText(left + 310, top + 29, "colour: segment; dark stripe: time before the computation")
    );
    return svg(width, top + 44, `${title}: cells by layer and time`, parts);
}

function panel(trace: Trace, allSteps: number, top: number, rowHeight: number, scale: number): string[] {
    const { steps, layers, schedule, tokens, segmentSize } = trace;
    const { built, replayed, wallMs, cells } = summarizeTrace(trace);
    const origin = steps[0]?.startMs ?? 0;
    const cut = allSteps > steps.length ? `, the first ${steps.length} of ${allSteps}` : "";
    const caption =
        `${schedule}: ${tokens} tokens in segments of ${segmentSize}, ${steps.length} steps${cut}, ` +
        `${cells} cells, ${built} graphs built, ${replayed} replayed, ${wallMs.toFixed(1)} ms`;
    const cellTop = top + captionHeight + markHeight - 18;
    const parts = [svgText(left, top + 8, caption, { weight: "bold" })];
    for (let layer = 0; layer < layers; layer += Math.max(1, Math.ceil(14 / rowHeight)))
        parts.push(
            svgText(left - 8, cellTop + (layer + 0.5) * rowHeight + 4, `layer ${layer}`, { anchor: "end", size: 10 })
        );
    for (const step of steps) {
        const x = round(left + (step.startMs - origin) * scale);
        const stepWidth = Math.max(0.2, round(step.timeMs * scale));
        const gap = stepWidth > 3 ? 0.5 : 0;
        const cells = cellsOf(step)
            .map(({ layer, segment }) => cell(x, cellTop + layer * rowHeight, stepWidth - gap, rowHeight, segment))
            .join("");
        const building = Math.min(stepWidth, round(step.buildMs * scale));
        const stripe =
            building >= 0.3
                ? `<rect x="${x}" y="${cellTop + step.firstLayer * rowHeight}" width="${building}" ` +
                  `height="${(step.endLayer - step.firstLayer) * rowHeight}" fill="#1f2328" fill-opacity="0.35"/>`
                : "";
        const mark = step.reused ? (step.replayed ? "#1a7f37" : undefined) : "#cf222e";
        const flag =
            mark === undefined
                ? ""
                : `<rect x="${x}" y="${cellTop - markHeight}" width="${Math.max(1, Math.min(10, stepWidth - gap))}" ` +
                  `height="6" fill="${mark}"/>`;
        parts.push(`<g><title>${escapeMarkup(describeStep(step))}</title>${cells}${stripe}${flag}</g>`);
    }
    return parts;
}

function cell(x: number, y: number, cellWidth: number, height: number, segment: number): string {
    // neighbouring segments get different colours
    const hue = (segment * 137) % 360;
    const rect =
        `<rect x="${x}" y="${y}" width="${round(cellWidth)}" height="${height - 0.5}" fill="hsl(${hue} ` +
        `55% 72%)"/>`;
    if (cellWidth < 7 * String(segment).length || height < 10) return rect;
    const middle = [round(x + cellWidth / 2), y + height / 2 + 3.5] as const;
    return `${rect}${svgText(...middle, String(segment), { anchor: "middle", size: 9 })}`;
}

function axis(y: number, span: number, scale: number): string[] {
    const step = niceStep(span / 8);
    const parts = [`<line x1="${left}" x2="${width - right}" y1="${y}" y2="${y}" stroke="#57606a"/>`];
    for (let at = 0; at <= span; at += step) {
        const x = round(left + at * scale);
        parts.push(
            `<line x1="${x}" x2="${x}" y1="${y}" y2="${y + 4}" stroke="#57606a"/>`,
            svgText(x, y + 16, `${Number(at.toPrecision(6))} ms`, { anchor: "middle", size: 10 })
        );
    }
    return parts;
}

/** Rounds up to 1, 2 or 5 times a power of ten. */
function niceStep(value: number): number {
    const power = 10 ** Math.floor(Math.log10(value));
    return ([1, 2, 5].find((factor) => factor * power >= value) ?? 10) * power;
}

/** Describes a step in one line. */
export function describeStep(step: ArmtTraceStep): string {
    const cells = step.endLayer - step.firstLayer;
    const where =
        step.type === "diagonal"
            ? `${cells} cells, layers ${step.firstLayer} to ${step.endLayer - 1}, segments ${step.segment} to ` +
              `${step.segment - cells + 1}`
            : `segment ${step.segment}, all layers`;
    const graph = step.reused ? (step.replayed ? "graph replayed" : "graph reused") : "graph built";
    return (
        `${where}; ${step.textRows} text and ${step.memoryRows} memory rows each; ${step.timeMs.toFixed(2)} ms, ` +
        `${step.buildMs.toFixed(2)} ms of it before the computation; ${graph}`
    );
}

function round(value: number): number {
    return Math.round(value * 100) / 100;
}

/** A self-contained HTML page with the picture and a table of the steps. */
export function tracePage(title: string, traces: readonly Trace[]): string {
    const tables = traces.map(({ schedule, steps }) => {
        const rows = steps.slice(0, maxSteps).map((step, i) => {
            const cells = [
                i,
                step.startMs.toFixed(2),
                step.timeMs.toFixed(2),
                step.buildMs.toFixed(2),
                describeStep(step)
            ];
            return `<tr>${cells.map((text) => `<td>${escapeMarkup(String(text))}</td>`).join("")}</tr>`;
        });
        return (
            `<h2>${schedule}</h2><table><thead><tr><th>step</th><th>start, ms</th><th>time, ms</th><th>before, ` +
            `ms</th><th>what</th></tr></thead><tbody>${rows.join("")}</tbody></table>`
        );
    });
    return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${escapeMarkup(title)}</title>
<style>
body { font-family: system-ui, sans-serif; margin: 2em; color: #1f2328; }
svg { max-width: 100%; height: auto; }
g:hover > rect { stroke: #1f2328; stroke-width: 0.5; }
table { border-collapse: collapse; font-size: 13px; }
td, th { padding: 2px 10px; text-align: right; border-bottom: 1px solid #d0d7de; }
td:last-child, th:last-child { text-align: left; }
</style>
</head>
<body>
${tracePicture(title, traces)}${tables.join("\n")}
</body>
</html>
`;
}
