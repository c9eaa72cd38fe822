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

/** What `cuda-check speed` and `bench/peers/authors.py` write; the latter adds more fields. */
const partFile = z.looseObject({
    device: z.string(),
    unit: z.literal("seconds"),
    runs: z.array(run),
    /** Kernels that PyTorch's attention was allowed to use. */
    sdpa: z.string().optional(),
    failed: z.array(z.object({ what: z.string(), error: z.string() })).optional()
});

export type PeersRun = z.infer<typeof run>;

/** Measurements of one program, and how it was called. */
export type PeersPart = {
    name: string;
    command: string;
    note?: string;
    runs: PeersRun[];
    sdpa?: string | undefined;
    failed?: { what: string; error: string }[] | undefined;
    /** Versions and other details that the program reports. */
    [more: string]: unknown;
};

export type PeersResults = {
    format: "cuda-check 1";
    /** Date, e.g. 2026-01-31. */
    date: string;
    device: string;
    unit: "seconds";
    model: string;
    parts: PeersPart[];
};

/** A part to merge. */
export type PartSource = { name: string; file: string; command: string; note?: string };

/**
 * Merges the files of several programs into one result, in the given order.
 * @throws {ArmtError} that names a file which cannot be read or comes from a different device than the first
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

/** Formats the results as JSON, with one run on each line. */
export function formatPeersResults({ parts, ...head }: PeersResults): string {
    const fields = Object.entries(head).map(([key, value]) => ` ${field(key, value)},\n`);
    return `{\n${fields.join("")} "parts": [\n${parts.map(formatPart).join(",\n")}\n ]\n}\n`;
}

function formatPart(part: PeersPart): string {
    const { runs, ...head } = part;
    // put the runs last, after their description
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
