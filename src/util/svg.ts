/** What a text of a picture may say besides its place. */
export interface TextStyle {
    anchor?: "start" | "middle" | "end";
    weight?: "normal" | "bold";
    colour?: string;
    size?: number;
}

/** Colours of lines, distinguishable with colour blindness too. */
export const colours = ["#1f6feb", "#d1570a", "#1a7f37", "#8250df", "#bf3989", "#57606a"] as const;

/** A whole picture on white. Unit: pixels. `label` is read by screen readers. */
export function svg(width: number, height: number, label: string, parts: readonly string[]): string {
    return (
        `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ` +
        `${height}" font-family="system-ui, sans-serif" font-size="12" role="img" ` +
        `aria-label="${escapeMarkup(label)}"><rect width="100%" height="100%" fill="white"/>${parts.join("")}</svg>\n`
    );
}

export function svgText(
    x: number,
    y: number,
    content: string,
    { anchor = "start", weight = "normal", colour = "#1f2328", size }: TextStyle = {}
): string {
    const fontSize = size === undefined ? "" : ` font-size="${size}"`;
    return (
        `<text x="${x}" y="${y}" text-anchor="${anchor}" font-weight="${weight}" ` +
        `fill="${colour}"${fontSize}>${escapeMarkup(content)}</text>`
    );
}

export function svgPolyline(points: readonly (readonly [number, number])[], colour: string, dash = ""): string {
    return (
        `<polyline points="${points.map((point) => point.join(",")).join(" ")}" fill="none" stroke="${colour}" ` +
        `stroke-width="2" stroke-dasharray="${dash}"/>`
    );
}

export function escapeMarkup(text: string): string {
    return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

/** One line of a chart. */
export interface ChartLine {
    readonly name: string;
    readonly points: readonly {
        readonly x: number;
        readonly y: number;
        readonly low?: number;
        readonly high?: number;
    }[];
    readonly colour: string;
    readonly dash?: string;
    /** Dots at the points. Default: `true`; `false` for what is the same at all of them. */
    readonly dots?: boolean;
}

export interface ChartOptions {
    readonly title: string;
    readonly top: number;
    readonly width: number;
    readonly height: number;
    readonly formatX: (value: number) => string;
    readonly formatY: (value: number) => string;
}

const left = 90;
const right = 20;

/**
 * A chart of lines over common points, with a logarithmic height; below it the lines' names. Gives its parts and where
 * it ends.
 */
export function logChart(
    lines: readonly ChartLine[],
    { title, top, width, height, formatX, formatY }: ChartOptions
): { parts: string[]; bottom: number } {
    const points = lines.flatMap((line) => line.points);
    const xs = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
    const values = points.flatMap(({ y, low = y, high = y }) => [low, high]).filter((value) => value > 0);
    if (xs.length === 0 || values.length === 0) return { parts: [], bottom: top };
    const step = (width - left - right) / xs.length;
    const placeX = (value: number) => round(left + (xs.indexOf(value) + 0.5) * step);
    const from = Math.log2(Math.min(...values)) - 0.25;
    const to = Math.log2(Math.max(...values)) + 0.25;
    const chartTop = top + 34;
    const placeY = (value: number) => round(chartTop + (1 - (Math.log2(value) - from) / (to - from)) * height);
    const parts = [svgText(left, top + 18, title, { weight: "bold" })];
    const every = to - from < 2.5 ? 0.5 : Math.ceil((to - from) / 8);
    for (let level = Math.ceil(from / every) * every; level <= to; level += every) {
        const y = placeY(2 ** level);
        parts.push(`<line x1="${left}" x2="${width - right}" y1="${y}" y2="${y}" stroke="#d0d7de"/>`);
        parts.push(svgText(left - 8, y + 4, formatY(2 ** level), { anchor: "end" }));
    }
    for (const x of xs) parts.push(svgText(placeX(x), chartTop + height + 18, formatX(x), { anchor: "middle" }));
    lines.forEach(({ name, points, colour, dash = "", dots = true }, i) => {
        parts.push(
            svgPolyline(
                points.map(({ x, y }) => [placeX(x), placeY(y)]),
                colour,
                dash
            )
        );
        for (const { x, y, low = y, high = y } of dots ? points : []) {
            parts.push(
                `<line x1="${placeX(x)}" x2="${placeX(x)}" y1="${placeY(low)}" y2="${placeY(high)}" ` +
                    `stroke="${colour}"/>`,
                `<circle cx="${placeX(x)}" cy="${placeY(y)}" r="3.5" fill="${colour}"/>`
            );
        }
        const nameY = chartTop + height + 40 + 16 * i;
        parts.push(
            `<line x1="${left}" x2="${left + 30}" y1="${nameY - 4}" y2="${nameY - 4}" stroke="${colour}" ` +
                `stroke-width="2" stroke-dasharray="${dash}"/>`,
            svgText(left + 38, nameY, name, { colour })
        );
    });
    return { parts, bottom: chartTop + height + 48 + 16 * lines.length };
}

function round(value: number): number {
    return Math.round(value * 100) / 100;
}
