/** Lines of a plain-text table. The first `left` columns are left-aligned, the others right-aligned. */
export function textTable(head: readonly string[], lines: readonly (readonly string[])[], left = 1): string {
    const widths = head.map((title, i) => Math.max(title.length, ...lines.map((line) => line[i]?.length ?? 0)));
    return [head, ...lines]
        .map((cells) =>
            cells.map((cell, i) => (i < left ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  ")
        )
        .map((line) => `${line.trimEnd()}\n`)
        .join("");
}
