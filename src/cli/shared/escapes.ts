/** What a shell leaves of `\n`, `\t` and `\\` in an option stands for a line's end, a tab and a backslash. */
export function readEscapes(text: string): string {
    return text.replaceAll(/\\([nt\\])/g, (_, letter: string) =>
        letter === "n" ? "\n" : letter === "t" ? "\t" : "\\"
    );
}
