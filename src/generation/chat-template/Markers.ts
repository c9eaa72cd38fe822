import type { Token } from "../../../plugin/index.js";

/** A stretch of rendered text without special tokens, or one special token. */
export type Stretch = { readonly text: string } | { readonly token: Token };

/** On which sides of a special token llama.cpp removes white space. */
export interface Strips {
    readonly before: boolean;
    readonly after: boolean;
}

/**
 * Finds names of special tokens in texts. In a rendered chat, a name from the template means the token, and a name from
 * a message is text. To tell them apart, the messages are rendered with a mark in front of each name.
 */
export class Markers {
    private readonly maxLength: number;
    private readonly starts: RegExp | undefined;
    private readonly beginnings = new Set<string>();
    private readonly endings = new Set<string>();

    constructor(
        private readonly tokens: ReadonlyMap<string, Token>,
        private readonly stripsOf: (token: Token) => Strips
    ) {
        const names = [...tokens.keys()];
        this.maxLength = names.reduce((longest, name) => Math.max(longest, name.length), 0);
        const first = new Set(names.map((name) => name[0]!.replace(/[\\\]^-]/, "\\$&")));
        this.starts = first.size === 0 ? undefined : new RegExp(`[${[...first].join("")}]`, "g");
        for (const name of names)
            for (let length = 1; length < name.length; length++) {
                this.beginnings.add(name.slice(0, length));
                this.endings.add(name.slice(-length));
            }
    }

    /**
     * Puts `sign` in front of every name in a text.
     * @param withEnds whether to mark parts of names at the ends of the text, too; the text around it may complete
     * them
     */
    escape(text: string, sign: string, withEnds: boolean): string {
        const places = new Set([...this.find(text)].map(({ at }) => at));
        const longest = withEnds ? this.maxLength : 0;
        for (let length = Math.min(longest, text.length); length > 0; length--) {
            if (this.beginnings.has(text.slice(-length))) places.add(text.length - length);
            if (this.endings.has(text.slice(0, length))) places.add(0);
        }
        let escaped = "";
        let done = 0;
        for (const at of [...places].sort((a, b) => a - b)) {
            escaped += text.slice(done, at) + sign;
            done = at;
        }
        return escaped + text.slice(done);
    }

    /** Splits a rendered text at its special tokens. Names behind `sign` remain text, and `sign` is removed. */
    split(text: string, sign: string | undefined): Stretch[] {
        const stretches: Stretch[] = [];
        const add = (from: number, to: number, strips: Strips) => {
            let part = text.slice(from, to);
            if (sign !== undefined) part = part.replaceAll(sign, "");
            if (strips.before) part = part.replace(/^[ \t\n\v\f\r]+/, "");
            if (strips.after) part = part.replace(/[ \t\n\v\f\r]+$/, "");
            if (part !== "") stretches.push({ text: part });
        };
        let done = 0;
        let stripsNext = false;
        for (const { at, name } of this.find(text)) {
            if (sign !== undefined && text.startsWith(sign, at - sign.length)) continue;
            const token = this.tokens.get(name)!;
            const { before, after } = this.stripsOf(token);
            add(done, at, { before: stripsNext, after: before });
            stretches.push({ token });
            done = at + name.length;
            stripsNext = after;
        }
        add(done, text.length, { before: stripsNext, after: false });
        return stretches;
    }

    /** The names in a text; the longest one at each place. */
    private *find(text: string): Generator<{ at: number; name: string }> {
        const { starts } = this;
        if (starts === undefined) return;
        starts.lastIndex = 0;
        for (let found = starts.exec(text); found !== null; found = starts.exec(text)) {
            const at = found.index;
            const name = this.longestAt(text, at);
            if (name === undefined) continue;
            yield { at, name };
            // another search may have changed the index of the shared expression
            starts.lastIndex = at + name.length;
        }
    }

    /** Stops at the first character with which no name continues, so that a text of beginnings takes no longer. */
    private longestAt(text: string, at: number): string | undefined {
        let longest: string | undefined;
        for (let end = at + 1; end <= text.length; end++) {
            const part = text.slice(at, end);
            if (this.tokens.has(part)) longest = part;
            if (!this.beginnings.has(part)) break;
        }
        return longest;
    }
}
