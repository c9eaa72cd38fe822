/** Replaces `\n`, `\t` and `\\`, which a shell leaves as they are, with a line feed, a tab and a backslash. */
export function readEscapes(text: string): string {
    return text.replaceAll(/\\([nt\\])/g, (_, letter: string) =>
        letter === "n" ? "\n" : letter === "t" ? "\t" : "\\"
    );
}
