import { z } from "zod";
import { readJsonAs } from "../../src/bench/read-json.js";
import { ArmtError, quote } from "../../src/util/errors.js";

const run = z.looseObject({
    what: z.string(),
    type: z.string(),
    layers: z.number(),
    hidden: z.number(),
    tokens: z.number(),
    median: z.number().positive(),
    least: z.number().positive(),
    most: z.number().positive()
});

/** What `cuda-check speed` and `bench/peers/authors.py` write; the latter says more of itself. */
const partFile = z.looseObject({
    device: z.string(),
    unit: z.literal("seconds"),
    runs: z.array(run),
    /** Which kernels PyTorch's attention might take. */
    sdpa: z.string().optional(),
    failed: z.array(z.object({ what: z.string(), error: z.string() })).optional()
});

export type PeersRun = z.infer<typeof run>;

/** What one program measured, and how it was called. */
export type PeersPart = {
    name: string;
    command: string;
    note?: string;
    runs: PeersRun[];
    sdpa?: string | undefined;
    failed?: { what: string; error: string }[] | undefined;
    /** Versions, and what else the program says. */
    [more: string]: unknown;
};

export type PeersResults = {
    format: "cuda-check 1";
    /** Day, as 2026-01-31. */
    date: string;
    device: string;
    unit: "seconds";
    model: string;
    parts: PeersPart[];
};

/** A part that is to be merged. */
export type PartSource = { name: string; file: string; command: string; note?: string };

/**
 * One result out of the files of several programs, in the order given.
 * @throws {ArmtError} that names the file which cannot be read or is of another device than the first
 */
export async function mergeParts(
    sources: readonly PartSource[],
    { date, model }: { date: string; model: string }
): Promise<PeersResults> {
    const [first] = sources;
    if (first === undefined) throw new ArmtError("there is no part to merge");
    let common: string | undefined;
    const parts: PeersPart[] = [];
    for (const { name, file, command, note } of sources) {
        const { device, unit: _, ...rest } = await readJsonAs(file, partFile, "result of cuda-check or authors.py");
        common ??= device;
        if (device !== common)
            throw new ArmtError(
                `${quote(file)} was measured on ${quote(device)}, and ${quote(first.file)} on ${quote(common)}: ` +
                    "times of two devices do not go into one table"
            );
        parts.push({ name, command, ...(note === undefined ? {} : { note }), ...rest });
    }
    return { format: "cuda-check 1", date, device: common!, unit: "seconds", model, parts };
}

/** The results as JSON, a run in a line. */
export function formatPeersResults({ parts, ...head }: PeersResults): string {
    const fields = Object.entries(head).map(([key, value]) => ` ${field(key, value)},\n`);
    return `{\n${fields.join("")} "parts": [\n${parts.map(formatPart).join(",\n")}\n ]\n}\n`;
}

function formatPart(part: PeersPart): string {
    const { runs, ...head } = part;
    // runs last: what they are comes first
    const fields = Object.entries({ ...head, runs }).map(([key, value]) =>
        isListOfObjects(value)
            ? `   ${JSON.stringify(key)}: [\n${value.map((one) => `    ${inLine(one)}`).join(",\n")}\n   ]`
            : `   ${field(key, value)}`
    );
    return `  {\n${fields.join(",\n")}\n  }`;
}

function field(key: string, value: unknown): string {
    return `${JSON.stringify(key)}: ${inLine(value)}`;
}

function inLine(value: unknown): string {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return JSON.stringify(value);
    const entries = Object.entries(value).filter(([, content]) => content !== undefined);
    return `{${entries.map(([key, content]) => field(key, content)).join(", ")}}`;
}

function isListOfObjects(value: unknown): value is object[] {
    return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === "object" && one !== null);
}
