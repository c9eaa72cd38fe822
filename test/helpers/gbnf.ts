/** A number from 0 up to but not including `count`. */
export type Random = (count: number) => number;

type Node =
    | { kind: "literal"; text: string }
    | { kind: "class"; negated: boolean; ranges: [number, number][] }
    | { kind: "rule"; name: string }
    | { kind: "sequence" | "choice"; nodes: Node[] }
    | { kind: "repeat"; node: Node; min: number; max: number };

/** Depth from which the shortest way is taken. */
const maxDepth = 40;

/** Draws texts that a grammar in GBNF lets through. */
export class GrammarSampler {
    private readonly rules = new Map<string, Node>();
    private readonly costs = new Map<string, number>();

    constructor(grammar: string) {
        for (const line of grammar.split("\n").filter((text) => text !== "")) {
            const [, name, body] = /^([\w-]+) ::= (.*)$/.exec(line)!;
            this.rules.set(name!, new GrammarReader(body!).choice());
        }
        for (let changed = true; changed; ) {
            changed = false;
            for (const [name, node] of this.rules) {
                const cost = this.cost(node) + 1;
                if (cost >= (this.costs.get(name) ?? Number.POSITIVE_INFINITY)) continue;
                this.costs.set(name, cost);
                changed = true;
            }
        }
    }

    sample(random: Random): string {
        return this.write({ kind: "rule", name: "root" }, random, 0);
    }

    /** Steps to the shortest text. */
    private cost(node: Node): number {
        switch (node.kind) {
            case "literal":
            case "class":
                return 0;
            case "rule":
                return this.costs.get(node.name) ?? Number.POSITIVE_INFINITY;
            case "sequence":
                return node.nodes.reduce((sum, part) => sum + this.cost(part), 0);
            case "choice":
                return Math.min(...node.nodes.map((part) => this.cost(part)));
            case "repeat":
                return node.min === 0 ? 0 : node.min * this.cost(node.node);
        }
    }

    private write(node: Node, random: Random, depth: number): string {
        switch (node.kind) {
            case "literal":
                return node.text;
            case "class":
                return String.fromCodePoint(pick(node, random));
            case "rule":
                return this.write(this.rules.get(node.name)!, random, depth + 1);
            case "sequence":
                return node.nodes.map((part) => this.write(part, random, depth)).join("");
            case "choice": {
                const ordered = [...node.nodes].sort((a, b) => this.cost(a) - this.cost(b));
                return this.write(
                    depth > maxDepth ? ordered[0]! : node.nodes[random(node.nodes.length)]!,
                    random,
                    depth
                );
            }
            case "repeat": {
                const most = Math.min(node.max, node.min + 4);
                const wanted = depth > maxDepth ? node.min : random(8) === 0 ? node.max : most;
                const count = node.min + random(Math.min(wanted, node.min + 60) - node.min + 1);
                return Array.from({ length: count }, () => this.write(node.node, random, depth)).join("");
            }
        }
    }
}

function pick({ negated, ranges }: Extract<Node, { kind: "class" }>, random: Random): number {
    if (!negated) {
        const [first, last] = ranges[random(ranges.length)]!;
        return first + random(last - first + 1);
    }
    for (;;) {
        const code = random(4) > 0 ? random(0x80) : random(0x110000);
        if (!ranges.some(([first, last]) => code >= first && code <= last)) return code;
    }
}

class GrammarReader {
    private at = 0;

    constructor(private readonly text: string) {}

    choice(): Node {
        const nodes = [this.sequence()];
        while (this.take("|")) nodes.push(this.sequence());
        return { kind: "choice", nodes };
    }

    private sequence(): Node {
        const nodes: Node[] = [];
        for (;;) {
            this.skip();
            const next = this.text[this.at];
            if (next === undefined || next === "|" || next === ")") return { kind: "sequence", nodes };
            nodes.push(this.repeated(this.item()));
        }
    }

    private item(): Node {
        if (this.take("(")) {
            const node = this.choice();
            this.expect(")");
            return node;
        }
        if (this.take('"')) {
            let text = "";
            while (this.text[this.at] !== '"') text += String.fromCodePoint(this.character());
            this.at++;
            return { kind: "literal", text };
        }
        if (this.take("[")) return this.class();
        const [name] = /^[\w-]+/.exec(this.text.slice(this.at))!;
        this.at += name.length;
        return { kind: "rule", name };
    }

    private class(): Node {
        const negated = this.text[this.at] === "^";
        if (negated) this.at++;
        const ranges: [number, number][] = [];
        while (this.text[this.at] !== "]") {
            const first = this.character();
            let last = first;
            if (this.text[this.at] === "-" && this.text[this.at + 1] !== "]") {
                this.at++;
                last = this.character();
            }
            ranges.push([first, last]);
        }
        this.at++;
        return { kind: "class", negated, ranges };
    }

    private repeated(node: Node): Node {
        const counts = /^(?:([*+?])|\{(\d+)(?:(,)(\d*))?\})/.exec(this.text.slice(this.at));
        if (counts === null) return node;
        this.at += counts[0].length;
        const [, sign, from, comma, to] = counts;
        const min = sign === undefined ? Number(from) : sign === "+" ? 1 : 0;
        const max =
            sign === undefined
                ? comma === undefined
                    ? min
                    : to === ""
                      ? Number.POSITIVE_INFINITY
                      : Number(to)
                : sign === "?"
                  ? 1
                  : Number.POSITIVE_INFINITY;
        return { kind: "repeat", node, min, max: Math.min(max, min + 1000) };
    }

    private character(): number {
        const code = this.text.codePointAt(this.at)!;
        this.at += String.fromCodePoint(code).length;
        if (code !== 0x5c) return code;
        const letter = this.text[this.at++]!;
        const digits = { x: 2, u: 4, U: 8 }[letter];
        if (digits !== undefined) {
            this.at += digits;
            return Number.parseInt(this.text.slice(this.at - digits, this.at), 16);
        }
        return ({ n: 10, r: 13, t: 9 }[letter] ?? letter.codePointAt(0))!;
    }

    private expect(character: string): void {
        if (!this.take(character)) throw new Error(`no ${character} at ${this.at} of ${this.text}`);
    }

    private take(character: string): boolean {
        this.skip();
        if (this.text[this.at] !== character) return false;
        this.at++;
        return true;
    }

    private skip(): void {
        while (this.text[this.at] === " ") this.at++;
    }
}
