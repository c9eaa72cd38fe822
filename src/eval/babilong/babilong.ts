import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import type {
    ArmtSegmentAlignment,
    ArmtSequence,
    LlamaContextSequence,
    LlamaModel,
    Token
} from "../../../plugin/index.js";
import { ArmtError, quote, systemErrorText } from "../../util/errors.js";
import { segmentLengths } from "../../util/segment-lengths.js";
import { svg, svgText } from "../../util/svg.js";
import { textTable } from "../../util/table.js";
import { readTextFile } from "../../util/whole-file.js";
import { writeAnswer } from "../questions/ask.js";
import { names } from "../questions/grading.js";
import { percent, type Share, shareOf, wilson } from "../questions/share.js";
import type { BabilongPrompts } from "./prompt.js";

/** One question of BABILong (arXiv 2406.10149) about facts in a long text. */
export interface BabilongSample {
    readonly input: string;
    readonly question: string;
    readonly target: string;
}

/** The questions of one file. */
export interface BabilongSet {
    /** Name of the folder, e.g. `4k`; empty if the file is in no folder. */
    readonly length: string;
    /** Name of the file without `.json`, e.g. `qa1`. */
    readonly task: string;
    readonly file: string;
}

/**
 * Finds the files of a data set: one JSON file, or a folder with `<length>/<task>.json` or `<task>.json`.
 * @throws {ArmtError} if there are no such files
 */
export async function findBabilong(data: string): Promise<BabilongSet[]> {
    const isFolder = async (name: string) => (await stat(name)).isDirectory();
    try {
        if (!(await isFolder(data))) return [{ length: "", task: taskOf(data), file: data }];
        const sets: BabilongSet[] = [];
        for (const name of await readdir(data)) {
            const file = path.join(data, name);
            if (name.endsWith(".json")) sets.push({ length: "", task: taskOf(name), file });
            else if (await isFolder(file))
                for (const inner of await readdir(file))
                    if (inner.endsWith(".json"))
                        sets.push({ length: name, task: taskOf(inner), file: path.join(file, inner) });
        }
        if (sets.length === 0)
            throw new ArmtError(`${quote(data)} has no <length>/<task>.json and no <task>.json, e.g. 4k/qa1.json`);
        const natural = new Intl.Collator("en", { numeric: true });
        return sets.sort((a, b) => natural.compare(a.length, b.length) || natural.compare(a.task, b.task));
    } catch (error) {
        if (error instanceof ArmtError) throw error;
        throw new ArmtError(`cannot read ${quote(data)}: ${systemErrorText(error)}`, { cause: error });
    }
}

function taskOf(file: string): string {
    return path.basename(file, ".json");
}

/** @throws {ArmtError} that names the file and the invalid entry */
export async function readBabilong(file: string): Promise<BabilongSample[]> {
    const contents = await readTextFile(file);
    let json: unknown;
    try {
        json = JSON.parse(contents);
    } catch (error) {
        throw new ArmtError(`${quote(file)} is not JSON`, { cause: error });
    }
    if (!Array.isArray(json) || json.length === 0)
        throw new ArmtError(`${quote(file)} must be a JSON list of {input, question, target}`);
    return json.map((entry: unknown, i) => {
        const sample = (typeof entry === "object" && entry !== null ? entry : {}) as Record<string, unknown>;
        const text = (key: string) => {
            const value = sample[key];
            if (typeof value !== "string") throw new ArmtError(`${quote(file)}: entry ${i} has no text \`${key}\``);
            return value;
        };
        return { input: text("input"), question: text("question"), target: text("target") };
    });
}

/** The answers to all questions of a file. An answer that names a label other than its own is wrong. */
export function labelsOf(samples: readonly BabilongSample[]): Set<string> {
    return new Set(samples.flatMap(({ target }) => partsOf(target)));
}

/**
 * Whether an answer is right by the authors' rule: its first sentence has all words of the target and no other label of
 * the task, except labels in the question.
 */
export function isRight(answer: string, { question, target }: BabilongSample, labels: ReadonlySet<string>): boolean {
    const [sentence = ""] = answer.trim().toLowerCase().split(/[.\n]/);
    const asked = question.toLowerCase();
    const wanted = partsOf(target);
    if (!wanted.every((part) => names(sentence, part))) return false;
    return [...labels].every((label) => wanted.includes(label) || names(asked, label) || !names(sentence, label));
}

/** Some targets are lists: `milk,football`. */
function partsOf(target: string): string[] {
    return target
        .toLowerCase()
        .split(",")
        .map((part) => part.trim())
        .filter((part) => part !== "");
}

export interface BabilongOptions {
    prompts: BabilongPrompts;
    maxTokens: number;
    /** Take only the first word of an answer. */
    oneWord: boolean;
    /** Which segment of a prompt is short. Default: the model's. */
    segmentAlignment?: ArmtSegmentAlignment;
    signal?: AbortSignal;
    /** Called with the number of questions answered so far. */
    onProgress?: (answered: number) => void;
}

/** Results of one file. */
export interface BabilongRow extends Share {
    readonly length: string;
    readonly task: string;
    /** Wilson's 95 % interval. */
    readonly interval: readonly [low: number, high: number];
    /** Results for the same questions if the model reads only the last segment, which contains the question. */
    readonly withoutMemory: Share;
    /** Average length of the prompts. Unit: tokens. */
    readonly tokens: number;
    readonly tokensPerSecond: number;
    readonly answers: readonly { question: string; target: string; answer: string; right: boolean }[];
}

/** Asks all questions of a file, each about its own text. */
export async function measureBabilong(
    model: LlamaModel,
    sequence: LlamaContextSequence,
    set: BabilongSet,
    samples: readonly BabilongSample[],
    labels: ReadonlySet<string>,
    { prompts, maxTokens, oneWord, segmentAlignment, signal, onProgress }: BabilongOptions
): Promise<BabilongRow> {
    const { armt } = sequence;
    if (armt === undefined) throw new ArmtError("BABILong is measured on ARMT models; this is a plain model");
    const alignment = segmentAlignment ?? model.armt?.segmentAlignment ?? "left";
    const write = async (tokens: Token[]) => {
        const end = oneWord ? firstWordEnd : undefined;
        const answer = await writeAnswer(sequence, model, tokens, maxTokens, { signal, end });
        return oneWord ? (firstWord.exec(answer)?.[0] ?? "") : answer;
    };
    const answers: BabilongRow["answers"][number][] = [];
    let blind = 0;
    let tokens = 0;
    let seconds = 0;
    for (const sample of samples) {
        signal?.throwIfAborted();
        const prompt = await prompts.tokens(sample);
        if (prompt.length === 0) throw new ArmtError(`${quote(set.file)}: a prompt is empty`);
        await sequence.clearHistory();
        const start = performance.now();
        // an abort can interrupt `feed`
        const rest = await readStart(armt, prompt, alignment, signal);
        const answer = await write(rest);
        seconds += (performance.now() - start) / 1000;
        tokens += prompt.length;
        const right = isRight(answer, sample, labels);
        answers.push({ question: sample.question, target: sample.target, answer, right });
        await sequence.clearHistory();
        const alone = await write(lastSegment(prompt, armt.segmentSize, alignment));
        if (isRight(alone, sample, labels)) blind++;
        onProgress?.(answers.length);
    }
    const { asked, right, recall } = shareOf(answers.map((answer) => Number(answer.right)));
    return {
        length: set.length,
        task: set.task,
        asked,
        right,
        recall,
        interval: wilson(right, asked),
        withoutMemory: { asked, right: blind, recall: blind / asked },
        tokens: tokens / asked,
        tokensPerSecond: tokens / seconds,
        answers
    };
}

/** A word and what shows that it is over. */
const firstWordEnd = /[\p{L}\p{N}][^\p{L}\p{N}'-]/u;
const firstWord = /[\p{L}\p{N}][\p{L}\p{N}'-]*/u;

/**
 * Reads a prompt into an empty sequence, except for its end. With an alignment other than `left`, the segments are
 * closed one by one, since `feed` fills each.
 * @returns the end, which is long enough to generate from
 */
async function readStart(
    armt: ArmtSequence,
    prompt: Token[],
    alignment: ArmtSegmentAlignment,
    signal: AbortSignal | undefined
): Promise<Token[]> {
    const { segmentSize } = armt;
    if (alignment === "left") {
        const end = Math.max(prompt.length - segmentSize, 0);
        await armt.feed([prompt.slice(0, end)], { signal });
        return prompt.slice(end);
    }
    let at = 0;
    for (const length of segmentLengths(prompt.length, segmentSize, alignment).slice(0, -1)) {
        await armt.feed([prompt.slice(at, at + length)], { signal });
        await armt.closeSegment();
        at += length;
    }
    return prompt.slice(at);
}

/** The open segment after the whole prompt is read: 1 to `segmentSize` tokens. */
function lastSegment(prompt: Token[], segmentSize: number, alignment: ArmtSegmentAlignment): Token[] {
    return prompt.slice(-segmentLengths(prompt.length, segmentSize, alignment).at(-1)!);
}

/** The table that `armt eval babilong` prints. */
export function babilongTable(rows: readonly BabilongRow[]): string {
    return textTable(
        ["length", "task", "right", "share", "95 % interval", "without memory", "tokens", "tokens/s"],
        rows.map((row) => [
            row.length || "-",
            row.task,
            `${row.right}/${row.asked}`,
            percent(row.recall),
            `${percent(row.interval[0])} - ${percent(row.interval[1])}`,
            percent(row.withoutMemory.recall),
            row.tokens.toFixed(0),
            row.tokensPerSecond.toFixed(0)
        ]),
        2
    );
}

/** Right answers by length and task, each with and without memory. */
export function babilongPlot(model: string, rows: readonly BabilongRow[]): string {
    const lengths = [...new Set(rows.map(({ length }) => length))];
    const tasks = [...new Set(rows.map(({ task }) => task))];
    const left = 90;
    const cell = { width: 96, height: 40 };
    const top = 62;
    const width = Math.max(420, left + lengths.length * cell.width + 20);
    const parts = [
        svgText(20, 22, `BABILong, ${model}`, { weight: "bold" }),
        svgText(20, 38, "right answers; in brackets: with the last segment alone")
    ];
    lengths.forEach((length, i) => {
        parts.push(svgText(left + (i + 0.5) * cell.width, top - 6, length || "-", { anchor: "middle" }));
    });
    tasks.forEach((task, j) => {
        const y = top + j * cell.height;
        parts.push(svgText(left - 8, y + 24, task, { anchor: "end" }));
        lengths.forEach((length, i) => {
            const row = rows.find((one) => one.length === length && one.task === task);
            if (row === undefined) return;
            const x = left + i * cell.width;
            const shade = `hsl(${Math.round(120 * row.recall)} 60% ${75 - 20 * row.recall}%)`;
            parts.push(
                `<rect x="${x + 1}" y="${y + 1}" width="${cell.width - 2}" height="${cell.height - 2}" ` +
                    `fill="${shade}"/>`,
                svgText(x + cell.width / 2, y + 18, percent(row.recall), { anchor: "middle", weight: "bold" }),
                svgText(x + cell.width / 2, y + 33, `(${percent(row.withoutMemory.recall)})`, { anchor: "middle" })
            );
        });
    });
    return svg(width, top + tasks.length * cell.height + 16, "Right answers by length and task", parts);
}
