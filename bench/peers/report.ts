import { ArmtError, quote } from "../../src/util/errors.js";
import { type ChartLine, colours, logChart, svg, svgText } from "../../src/util/svg.js";
import { textTable } from "../../src/util/table.js";
import type { PeersPart, PeersResults, PeersRun } from "./results.js";

const seriesNames = ["authorsSequential", "authorsDiagonal", "engineSequential", "engineDiagonal"] as const;

type SeriesName = (typeof seriesNames)[number];

/** Colours show the schedule; dashes show whose implementation it is. */
const series: Record<SeriesName, { what: RegExp; head: string; label: string; colour: string; dash: string }> = {
    authorsSequential: {
        what: /^authors, segment (\d+) sequential$/,
        head: "authors, segment after segment",
        label: "authors' ARMT (PyTorch), segment after segment",
        colour: colours[1],
        dash: "6 4"
    },
    authorsDiagonal: {
        what: /^authors, segment (\d+) diagonal$/,
        head: "authors, diagonal",
        label: "authors' diagonal executor (PyTorch)",
        colour: colours[2],
        dash: "6 4"
    },
    engineSequential: {
        what: /^segment (\d+) sequential$/,
        head: "this engine, sequential",
        label: "this engine, sequential",
        colour: colours[1],
        dash: ""
    },
    engineDiagonal: {
        what: /^segment (\d+) diagonal$/,
        head: "this engine, diagonal",
        label: "this engine, diagonal",
        colour: colours[2],
        dash: ""
    }
};

/** Implementations of full attention. */
const fullAttention = {
    pytorch: { what: /^PyTorch full attention/, label: "full attention, PyTorch", colour: colours[5] },
    llamaCpp: { what: /^llama\.cpp full attention/, label: "full attention, llama.cpp", colour: colours[0] }
} as const;

type Whose = keyof typeof fullAttention;

const whose = Object.keys(fullAttention) as Whose[];

/** A comparison of models of one shape that read the same text. */
export interface Comparison {
    readonly type: string;
    readonly layers: number;
    readonly hidden: number;
    readonly tokens: number;
    /** Runs by segment size, smallest first. */
    readonly rows: readonly { segment: number; runs: Partial<Record<SeriesName, PeersRun>> }[];
    readonly full: readonly { whose: Whose; name: string; run: PeersRun }[];
}

/**
 * Picks the runs to compare: those with the length and shape of the first run, or of the authors' first run if there is
 * one. Runs with unknown names are ignored.
 * @throws {ArmtError} if two runs belong in the same place
 */
export function compare({ parts }: PeersResults): Comparison | undefined {
    const runs = parts.flatMap((part) => part.runs.map((run) => ({ part, run })));
    const named = (patterns: readonly RegExp[]) =>
        runs.find(({ run }) => patterns.some((what) => what.test(run.what)))?.run;
    const first =
        named([series.authorsSequential.what, series.authorsDiagonal.what]) ??
        named([series.engineSequential.what, series.engineDiagonal.what]) ??
        named(whose.map((one) => fullAttention[one].what));
    if (first === undefined) return undefined;
    const { type, layers, hidden, tokens } = first;
    const alike = runs.filter(
        ({ run }) => run.type === type && run.layers === layers && run.hidden === hidden && run.tokens === tokens
    );
    const places = new Map<string, PeersPart>();
    const take = (place: string, part: PeersPart) => {
        const other = places.get(place);
        if (other !== undefined)
            throw new ArmtError(`${quote(place)} is in part ${quote(other.name)} and in part ${quote(part.name)}`);
        places.set(place, part);
    };
    const rows = new Map<number, Partial<Record<SeriesName, PeersRun>>>();
    const full = [];
    for (const { part, run } of alike) {
        for (const name of seriesNames) {
            const segment = series[name].what.exec(run.what)?.[1];
            if (segment === undefined) continue;
            take(run.what, part);
            rows.set(Number(segment), { ...rows.get(Number(segment)), [name]: run });
        }
        for (const one of whose) {
            if (!fullAttention[one].what.test(run.what)) continue;
            const { sdpa = "auto" } = part;
            const name = sdpa === "auto" ? run.what : `${run.what}, ${sdpa}`;
            take(name, part);
            full.push({ whose: one, name, run });
        }
    }
    const sorted = [...rows].sort(([a], [b]) => a - b).map(([segment, own]) => ({ segment, runs: own }));
    return { type, layers, hidden, tokens, rows: sorted, full };
}

/** The table that `npm run bench:peers` prints. */
export function peersTable(results: PeersResults): string {
    const comparison = compare(results);
    const parts = [`${results.device}, ${results.date}\n`];
    if (comparison === undefined) parts.push("none of the runs is of those that are compared\n");
    else parts.push(...tablesOf(comparison));
    for (const { name, failed = [] } of results.parts)
        for (const { what, error } of failed) parts.push(`${what} was not measured (${name}): ${firstLine(error)}\n`);
    return parts.join("");
}

function tablesOf(comparison: Comparison): string[] {
    const { rows, full, tokens } = comparison;
    const parts = [
        `${shapeOf(comparison)}; reading ${thousands(tokens)} tokens, seconds: median, lowest and highest in ` +
            "brackets; of an even number of reads, the slower of the middle two\n"
    ];
    if (rows.length > 0) {
        const head = ["segment", ...seriesNames.map((name) => series[name].head), "authors' diagonal / this one's"];
        const lines = rows.map(({ segment, runs }) => [
            String(segment),
            ...seriesNames.map((name) => seconds(runs[name])),
            runs.authorsDiagonal === undefined || runs.engineDiagonal === undefined
                ? ""
                : `${(runs.authorsDiagonal.median / runs.engineDiagonal.median).toFixed(2)}x`
        ]);
        parts.push(`\n${textTable(head, lines)}`);
    }
    if (full.length > 0) {
        const lines = full.map(({ name, run }) => [name, seconds(run)]);
        parts.push(`\n${textTable(["full attention", "seconds"], lines)}`);
    }
    return parts;
}

/** Plots time by segment size, with full attention as horizontal lines. `undefined` if no run has segments. */
export function peersPlot(results: PeersResults): string | undefined {
    const comparison = compare(results);
    if (comparison === undefined || comparison.rows.length === 0) return undefined;
    const { rows, full, tokens } = comparison;
    const lines: ChartLine[] = [];
    for (const one of whose) {
        const own = full.filter((run) => run.whose === one).sort((a, b) => a.run.median - b.run.median);
        const [fastest] = own;
        if (fastest === undefined) continue;
        const { label, colour } = fullAttention[one];
        const { median } = fastest.run;
        const points = rows.map(({ segment }) => ({ x: segment, y: median }));
        lines.push({ name: `${label}: ${median.toFixed(2)} s`, points, colour, dash: "2 3", dots: false });
    }
    for (const name of seriesNames) {
        const points = rows.flatMap(({ segment, runs: { [name]: run } }) =>
            run === undefined ? [] : [{ x: segment, y: run.median, low: run.least, high: run.most }]
        );
        const { label, colour, dash } = series[name];
        if (points.length > 0) lines.push({ name: label, points, colour, dash });
    }
    const width = 720;
    const chart = logChart(lines, {
        title: "Time to the last token's logits by segment size (median, lowest and highest)",
        top: 56,
        width,
        height: 300,
        formatX: String,
        formatY: (value) => `${Number(value.toPrecision(2))} s`
    });
    const title = `Reading ${thousands(tokens)} tokens: the authors' PyTorch code and this engine`;
    const parts = [
        svgText(20, 24, title, { weight: "bold", size: 14 }),
        svgText(20, 44, `${results.device}; ${shapeOf(comparison)}`)
    ];
    return svg(width, chart.bottom, title, [...parts, ...chart.parts]);
}

function shapeOf({ type, layers, hidden }: Comparison): string {
    return `${layers} layers of ${hidden}, ${type}`;
}

function seconds(run: PeersRun | undefined): string {
    if (run === undefined) return "";
    return `${run.median.toFixed(3)} [${run.least.toFixed(3)} ${run.most.toFixed(3)}]`;
}

function thousands(count: number): string {
    return count.toLocaleString("en-US");
}

function firstLine(text: string): string {
    return text.split("\n", 1)[0]!;
}
