import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { repositoryRoot } from "../repository.js";

/** The address on the pages, which tests replace with a free port. */
export const namedAddress = "127.0.0.1:8080";

/** A fenced block of code in a page. */
export type Block = {
    /** Path of the page in the repository. */
    readonly page: string;
    /** Line of the fence, from 1. */
    readonly line: number;
    readonly language: string;
    readonly text: string;
    /** Why it is not run, from `<!-- not run: … -->` on the line before it. */
    readonly reason?: string;
};

const marker = /^<!-- not run: (?<reason>.+) -->$/;

/** The README and all pages of docs/ that are not generated. */
export function listPages(): string[] {
    const pages = readdirSync(path.join(repositoryRoot, "docs"), { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".md") && !/node_modules|html\//.test(file))
        .map((file) => path.join("docs", file));
    const native = path.join("native", "README.md");
    const more = existsSync(path.join(repositoryRoot, native)) ? [native] : [];
    return ["README.md", "CONTRIBUTING.md", ...more, ...pages.sort()];
}

export function readPage(page: string): string {
    return readFileSync(path.join(repositoryRoot, page), "utf8");
}

/** All blocks of all pages, in order. */
export function listBlocks(): Block[] {
    return listPages().flatMap((page) => blocksOf(page, readPage(page)));
}

export function blocksOf(page: string, source: string): Block[] {
    const lines = source.split("\n");
    const blocks: Block[] = [];
    for (let i = 0; i < lines.length; i++) {
        const fence = /^(?<indent> *)```(?<language>\S*)/.exec(lines[i]!)?.groups;
        if (fence === undefined) continue;
        const start = i++;
        while (i < lines.length && lines[i]!.trim() !== "```") i++;
        if (i === lines.length) throw new Error(`${page}:${start + 1}: the block has no end`);
        const before = lines.slice(0, start).findLast((line) => line.trim() !== "");
        const text = lines.slice(start + 1, i).map((line) => line.slice(fence.indent!.length));
        blocks.push({
            page,
            line: start + 1,
            language: fence.language!,
            text: text.join("\n"),
            reason: marker.exec(before?.trim() ?? "")?.groups?.reason
        });
    }
    return blocks;
}

export function title({ page, line, language }: Block): string {
    return `${page}:${line} (${language})`;
}
