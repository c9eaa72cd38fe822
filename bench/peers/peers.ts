// `npm run bench:peers`: merges the measurements of `bench/peers/authors.py` and `cuda-check speed`, prints the table
// and draws the plot.

import path from "node:path";
import yargs from "yargs";
import { hideBin } from "yargs/helpers";
import { writeAtomically } from "../../src/util/atomic-file.js";
import { quote } from "../../src/util/errors.js";
import { reportFailure, UsageError } from "../../src/util/failure.js";
import { peersPlot, peersTable } from "./report.js";
import { formatPeersResults, mergeParts, type PartSource } from "./results.js";

const model =
    "LLaMA-3.2-1B's shape unless stated otherwise, random weights, 128 memory tokens, d_mem 64; this engine in " +
    "batches of 8192 tokens, llama.cpp in those that its runs name";

const args = await yargs(hideBin(process.argv))
    .usage(
        "$0 OUT.json NAME=FILE...\n\nPuts the authors' PyTorch code and this engine into one result. FILE: what one " +
            "of the two programs wrote."
    )
    .demandCommand(2)
    .options({
        command: { type: "string", array: true, nargs: 1, default: [], describe: "NAME=TEXT: how a part was made" },
        note: { type: "string", array: true, nargs: 1, default: [], describe: "NAME=TEXT: what else to know of it" },
        date: { type: "string", default: new Date().toISOString().slice(0, 10), describe: "Day of the measurement" },
        model: { type: "string", default: model, describe: "What was measured" },
        plot: { type: "string", describe: "SVG file [default: next to the JSON file]" }
    })
    .strict()
    .parse();

/** Parses an option's NAME=VALUE pairs; each name may occur once. */
function named(option: string, values: readonly string[]): Map<string, string> {
    const found = new Map<string, string>();
    for (const value of values) {
        const at = value.indexOf("=");
        const name = value.slice(0, at);
        if (at < 1 || at === value.length - 1) throw new UsageError(`${option} ${quote(value)}: expected NAME=…`);
        if (found.has(name)) throw new UsageError(`${option} ${quote(name)} is given twice`);
        found.set(name, value.slice(at + 1));
    }
    return found;
}

function sourcesOf(parts: Map<string, string>): PartSource[] {
    const commands = named("--command", args.command);
    const notes = named("--note", args.note);
    for (const [option, names] of [
        ["--command", commands],
        ["--note", notes]
    ] as const)
        for (const name of names.keys())
            if (!parts.has(name)) throw new UsageError(`${option} ${quote(name)}: there is no part of this name`);
    return [...parts].map(([name, file]) => {
        const command = commands.get(name);
        if (command === undefined) throw new UsageError(`part ${quote(name)} has no --command`);
        const note = notes.get(name);
        return { name, file, command, ...(note === undefined ? {} : { note }) };
    });
}

try {
    const [out = "", ...parts] = args._.map(String);
    const { date, plot: plotFile = path.format({ ...path.parse(out), base: undefined, ext: ".svg" }) } = args;
    if (!/^\d{4}-\d\d-\d\d$/.test(date)) throw new UsageError(`--date ${quote(date)}: expected a day as 2026-01-31`);
    const sources = sourcesOf(named("part", parts));
    const results = await mergeParts(sources, { date, model: args.model });
    const table = peersTable(results);
    const plot = peersPlot(results);
    const files: [string, string][] = [[out, formatPeersResults(results)]];
    if (plot !== undefined) files.push([plotFile, plot]);
    for (const [file, text] of files) await writeAtomically(file, {}, (target) => target.write(Buffer.from(text)));
    process.stdout.write(`${table}written to ${files.map(([file]) => file).join(" and ")}\n`);
} catch (error) {
    reportFailure(error, false);
}
