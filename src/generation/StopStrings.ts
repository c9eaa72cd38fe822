/** Finds the first of several strings in a text that comes in pieces, and holds back what may still become one. */
export class StopStrings {
    private held = "";

    constructor(private readonly strings: readonly string[]) {}

    /** @returns text that is safe to show, and whether a stop string came; nothing after it is shown */
    push(piece: string): { text: string; stopped: boolean } {
        if (this.strings.length === 0) return { text: piece, stopped: false };
        const text = this.held + piece;
        let first = Number.POSITIVE_INFINITY;
        for (const string of this.strings) {
            const at = text.indexOf(string);
            if (at >= 0) first = Math.min(first, at);
        }
        if (first < Number.POSITIVE_INFINITY) {
            this.held = "";
            return { text: text.slice(0, first), stopped: true };
        }
        const keep = Math.max(...this.strings.map((string) => overlap(text, string)));
        this.held = text.slice(text.length - keep);
        return { text: text.slice(0, text.length - keep), stopped: false };
    }

    /** @returns the text that was held back */
    end(): string {
        const text = this.held;
        this.held = "";
        return text;
    }
}

/** Length of the longest end of `text` that is a beginning of `string`, but not all of it. */
function overlap(text: string, string: string): number {
    for (let length = Math.min(text.length, string.length - 1); length > 0; length--)
        if (text.endsWith(string.slice(0, length))) return length;
    return 0;
}
