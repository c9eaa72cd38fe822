import { escapeControls, quote } from "../../util/errors.js";
import { MEMORY_EPSILON } from "./armt-keys.js";
import { type ArmtModelKeys, validateArmtFile } from "./armt-model.js";
import { openGguf } from "./reader.js";
import type { GgufTensorInfo, GgufValue } from "./types.js";

export type DescribeOptions = {
    /** List every tensor. Default: `false`. */
    tensors?: boolean;
};

/** The contents of a GGUF file, without the file. Arrays are described by type and length. */
export class GgufDescription {
    constructor(
        private readonly path: string,
        private readonly size: number,
        private readonly version: number,
        private readonly metadata: ReadonlyMap<string, GgufValue>,
        private readonly tensors: ReadonlyMap<string, GgufTensorInfo>,
        /** Facts of an ARMT model; `undefined` for other models. */
        public readonly armt: ArmtModelKeys | undefined
    ) {}

    public toJson({ tensors = false }: DescribeOptions = {}): string {
        const metadata = [...this.metadata].map(([key, value]) => [key, jsonValue(value)]);
        const list = [...this.tensors].map(([name, { type, shape, offset, byteLength }]) => {
            return { name, type: type.name, shape, offset, byteLength };
        });
        const description = {
            file: this.path,
            size: this.size,
            version: this.version,
            parameters: this.parameters,
            tensorCount: this.tensors.size,
            armt: this.armt === undefined ? null : { ...this.armt, memoryBytes: memoryBytes(this.armt) },
            metadata: Object.fromEntries(metadata),
            ...(tensors ? { tensors: list } : {})
        };
        return JSON.stringify(description, undefined, 4);
    }

    public toText({ tensors = false }: DescribeOptions = {}): string {
        const head: [string, string][] = [
            ["file", quote(this.path)],
            ["size", `${this.size} bytes, GGUF version ${this.version}`],
            ["weights", `${this.parameters} in ${this.tensors.size} tensors (${this.typeSummary()})`]
        ];
        const sampling = this.sampling;
        if (sampling !== "") head.push(["sampling", sampling]);
        const sections = [table(head)];
        if (this.armt !== undefined) sections.push(`ARMT\n${table(armtRows(this.armt))}`);
        sections.push(
            `Metadata\n${table([...this.metadata].map(([key, value]) => [quote(key).slice(1, -1), textValue(value)]))}`
        );
        if (tensors) {
            const rows = [...this.tensors].map(([name, { type, shape, byteLength }]): [string, string] => {
                return [quote(name).slice(1, -1), `${type.name} [${shape.join(", ")}] ${byteLength} bytes`];
            });
            sections.push(`Tensors (fastest dimension first)\n${table(rows)}`);
        }
        return sections.join("\n");
    }

    /** The file's defaults for drawing tokens, with llama.cpp's names. */
    private get sampling(): string {
        const prefix = "general.sampling.";
        return [...this.metadata]
            .filter(([key]) => key.startsWith(prefix))
            .map(([key, value]) => `${quote(key.slice(prefix.length)).slice(1, -1)} ${textValue(value)}`)
            .join(", ");
    }

    private get parameters(): number {
        return [...this.tensors.values()].reduce(
            (sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1),
            0
        );
    }

    private typeSummary(): string {
        const counts = new Map<string, number>();
        for (const { type } of this.tensors.values()) counts.set(type.name, (counts.get(type.name) ?? 0) + 1);
        return [...counts].map(([name, count]) => `${count} ${name}`).join(", ") || "none";
    }
}

/**
 * Reads a GGUF file's head; an ARMT model is checked completely, except for its weights.
 * @throws {ArmtError} that names the file and what is wrong in it
 */
export async function describeGguf(path: string): Promise<GgufDescription> {
    const file = await openGguf(path);
    try {
        const architecture = file.metadata.get("general.architecture");
        const armt =
            architecture?.type === "STRING" && architecture.value === "armt" ? validateArmtFile(file) : undefined;
        return new GgufDescription(path, file.size, file.version, file.metadata, file.tensors, armt);
    } finally {
        await file.close();
    }
}

/** Size of one sequence's associative memory: A `[h, K/h, D/h]` and z `[K]` of each layer in float32. Unit: bytes. */
export function memoryBytes({ blockCount, embeddingLength, memory }: ArmtModelKeys): number {
    if (memory.kind === "recurrent") return 4 * memory.tokenCount * embeddingLength;
    const keySize = 2 * memory.dpfpOrder * memory.keyLength;
    const normalizer = memory.useDenom ? keySize : 0;
    return 4 * blockCount * ((keySize * embeddingLength) / memory.headCount + normalizer);
}

function armtRows(info: ArmtModelKeys): [string, string][] {
    const { memory } = info;
    const yesNo = (value: boolean) => (value ? "yes" : "no");
    return [
        [
            "base",
            `${info.baseArchitecture}, ${info.blockCount} layers of ${info.embeddingLength}, vocabulary ` +
                `${info.vocabSize}`
        ],
        [
            "segment",
            `${info.segmentSize} tokens + ${memory.tokenCount} memory tokens, aligned ${info.segmentAlignment}`
        ],
        [
            "memory",
            memory.kind === "recurrent"
                ? `plain RMT: the last layer's memory tokens, ${memoryBytes(info)} bytes a sequence; ` +
                  "read segment by segment"
                : `keys of ${memory.keyLength}, ${memory.headCount} head(s), ${memoryBytes(info)} bytes a sequence`
        ],
        ...(info.sinkCount > 0 ? ([["sink", "a learned row before each segment's text"]] as [string, string][]) : []),
        ...(info.seesPreviousSegment
            ? ([["attention", "reaches into the previous segment's text"]] as [string, string][])
            : []),
        ...(info.rereadsPreviousSegment
            ? ([["segments begin with", "the previous segment's text, computed again"]] as [string, string][])
            : []),
        ...(info.previousPositions === "continued"
            ? []
            : ([["positions in a segment", info.previousPositions]] as [string, string][])),
        ...(memory.mutual === info.seesPreviousSegment
            ? []
            : ([["memory tokens see", memory.mutual ? "one another" : "those before them"]] as [string, string][])),
        ...(memory.disjoint ? ([["memory tokens", "the learned ones, in each layer"]] as [string, string][]) : []),
        ["normalized keys", yesNo(memory.normalizeKeys)],
        ["normalizer z", yesNo(memory.useDenom)],
        ["correction", yesNo(memory.correction)],
        ["gating", yesNo(memory.gating)],
        ...(memory.epsilon === MEMORY_EPSILON
            ? []
            : ([["epsilon of the memory", memory.epsilon.toPrecision(3)]] as [string, string][])),
        ...trainingRows(info),
        ["fingerprint", info.fingerprint]
    ];
}

/** What a model that `armt attach` made says of its training. */
function trainingRows({ baseName, license, ask, training }: ArmtModelKeys): [string, string][] {
    const rows: [string, string][] = [];
    if (baseName !== undefined)
        rows.push([
            "trained for",
            `${quote(baseName)}${license === undefined ? "" : `, licence ${escapeControls(license)}`}`
        ]);
    if (training !== undefined) rows.push(["training", escapeControls(training)]);
    if (ask === undefined) return rows;
    const forms = [
        ...(ask.chat ? ["in a chat"] : []),
        ...(ask.before === undefined && ask.after === undefined
            ? []
            : [`between ${quote(ask.before ?? "")} and ${quote(ask.after ?? "")}`])
    ];
    rows.push([
        "ask",
        [
            forms.join(", or ") || "as text",
            ask.close ? "close the segment first" : "in the open segment",
            ask.greedy ? "take the most probable token" : "sample"
        ].join("; ")
    ]);
    if (ask.end.length > 0) rows.push(["answers end with", ask.end.map(quote).join(", ")]);
    return rows;
}

function table(rows: readonly (readonly [string, string])[]): string {
    const width = Math.max(0, ...rows.map(([label]) => label.length));
    return rows.map(([label, value]) => `    ${label.padEnd(width)}  ${value}\n`).join("");
}

function textValue(value: GgufValue): string {
    if (value.type === "ARRAY") return `${value.count} × ${value.elementType}`;
    if (value.type === "FLOAT32") return String(shortestFloat32(value.value));
    return value.type === "STRING" ? quote(value.value) : String(value.value);
}

function jsonValue(value: GgufValue): unknown {
    if (value.type === "ARRAY") return { elementType: value.elementType, count: value.count };
    if (value.type === "FLOAT32") return shortestFloat32(value.value);
    if (typeof value.value === "bigint") return value.value.toString();
    return value.value;
}

/** The number with fewest digits that is the same float32: 0.00001 rather than 0.000009999999747378752. */
function shortestFloat32(value: number): number {
    for (let digits = 1; digits < 9; digits++) {
        const short = Number(value.toPrecision(digits));
        if (Math.fround(short) === value) return short;
    }
    return value;
}
