import { readFile, stat } from "node:fs/promises";
import type { Dialect } from "./dialects.js";

/** The source text that the authors' trainer puts next to the weights. It is only read, never run. */
export const SOURCE_FILE = "modeling_armt.py";

/** A larger file is not the authors'. Unit: bytes. */
const MAX_SOURCE = 4 * 2 ** 20;

/** Texts between three quotes. */
const docstrings = /("""|''')[\s\S]*?\1/g;

/** Expressions, without spaces, comments and docstrings, that only one version of the inner loop has. */
const marks: readonly { pattern: RegExp; dialect: Dialect }[] = [
    // the layer appends the learned memory tokens itself and returns the text's rows alone
    { pattern: /seg_real_out=/, dialect: "disjoint" },
    // positions of a segment start at 0
    { pattern: /mem_causal|arange\(0,seg_len|torch\.arange\(end-start/, dialect: "inner-causal" },
    // positions are slices of those of the whole text
    { pattern: /_get_segment_positions.*position_ids\[:,start:end\]/, dialect: "inner" }
];

/**
 * Which version of the inner loop a source text is.
 * @returns `undefined` if no version is known by this text
 */
export function dialectOfSource(text: string): Dialect | undefined {
    const plain = text
        .replaceAll(docstrings, "")
        .replaceAll(/#[^\r\n]*/g, "")
        .replaceAll(/\s+/g, "");
    const found = marks.filter(({ pattern }) => pattern.test(plain)).map(({ dialect }) => dialect);
    // a text with several classes does not say which one the weights belong to
    if (found.includes("disjoint") && found.includes("inner-causal")) return undefined;
    return found[0];
}

/** The source text in a checkpoint's folder. `undefined` if there is none; empty if it can't be the authors'. */
export async function readSource(file: string): Promise<string | undefined> {
    const stats = await stat(file).catch((error: NodeJS.ErrnoException) => {
        if (error.code === "ENOENT") return undefined;
        throw error;
    });
    if (stats === undefined) return undefined;
    return stats.isFile() && stats.size <= MAX_SOURCE ? readFile(file, "utf8") : "";
}
