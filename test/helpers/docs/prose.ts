/**
 * The prose of a Markdown page, line for line: blocks of code, comments and quotations become empty lines, code in a
 * sentence becomes one word, and a link its text. Cells of a table and items of a list become paragraphs of their own.
 */
export function proseOf(page: string): string {
    return withoutCode(textLines(page).join("\n"))
        .replaceAll(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
        .replaceAll(/<[^>\n]*>/g, "");
}

/** Code in a sentence becomes one word, which can begin a sentence. */
function withoutCode(text: string): string {
    return text.replaceAll(/`[^`]+`/g, (code) => `Code${code.replaceAll(/[^\n]/g, "")}`);
}

/** Lines of a page that can be wrapped, code included: no comments, quotations, tables, headings, HTML or pictures. */
export function wrappedLines(page: string): string[] {
    return page.split("\n").map((line) => (/^\s*(\||<|#|>|!\[)/.test(line) ? "" : line));
}

function textLines(page: string): string[] {
    let code = false;
    return page.split("\n").map((line) => {
        const fence = /^\s*```/.test(line);
        if (fence) code = !code;
        return fence || code || /^\s*(<!--|>)/.test(line) ? "" : line;
    });
}

/** The texts of a source file's documentation comments, line for line. */
export function docComments(source: string): string {
    let inside = false;
    const comments = source
        .split("\n")
        .map((line) => {
            const starts = /^\s*\/\*\*/.test(line);
            inside ||= starts;
            if (!inside) return "";
            if (/\*\//.test(line)) inside = false;
            return line.replace(/^\s*(\/\*\*|\*(?!\/))?/, "").replace(/\*\/.*$/, "");
        })
        .join("\n");
    return withoutCode(comments);
}
