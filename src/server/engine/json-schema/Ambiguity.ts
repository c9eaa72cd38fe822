import { unsupported } from "../../errors.js";
import { spend } from "./Work.js";

/** Limit of readings that are followed at the same time; each of them costs time with every token. */
const maxReadings = 1000;

/** If the counts still grow after so many rounds, they have no limit. */
const maxRounds = 100;

type Node = {
    readonly kind: "value" | "union";
    /** First characters, which tell values apart. */
    readonly starts: Set<string>;
    /** The parts of a value, or the alternatives of a union. */
    readonly children: number[];
    /** The parts that no text of a value can leave out. */
    readonly needed: readonly number[];
    readings: number;
};

/**
 * Counts in how many ways a text may match a grammar while it is being written. The first character tells most
 * alternatives apart. Those that begin with the same character are followed in parallel, and nested choices multiply.
 */
export class Ambiguity {
    private readonly nodes: Node[] = [];

    /** @param start first character of the value, or a word for scalars that begin in the same way */
    value(start: string, children: readonly number[] = [], needed: readonly number[] = []): number {
        return this.add({ kind: "value", starts: new Set([start]), children: [...children], needed, readings: 1 });
    }

    union(children: readonly number[]): number {
        return this.add({ kind: "union", starts: new Set(), children: [...children], needed: [], readings: 1 });
    }

    /** Completes a reference to a schema that was not compiled yet. */
    link(from: number, to: number): void {
        this.nodes[from]!.children.push(to);
    }

    /** @throws {ApiError} if the schema would take too long */
    check(param: string): void {
        this.refuseEmptyCycles(param);
        this.refuseEndless(param);
        let round = 0;
        for (let changed = true; changed; round++) {
            changed = false;
            spend(this.nodes.length);
            for (const node of this.nodes) {
                const { readings } = node;
                const { size } = node.starts;
                this.update(node);
                if (node.readings > maxReadings || round > maxRounds)
                    throw unsupported(param, `the alternatives in \`${param}\` are too similar to tell apart`);
                changed ||= node.readings !== readings || node.starts.size !== size;
            }
        }
    }

    private update(node: Node): void {
        const children = node.children.map((child) => this.nodes[child]!);
        if (node.kind === "value") {
            for (const { readings } of children) node.readings = Math.max(node.readings, readings);
            return;
        }
        const perStart = new Map<string, number>();
        for (const { starts, readings } of children)
            for (const start of starts) {
                node.starts.add(start);
                perStart.set(start, (perStart.get(start) ?? 0) + readings);
            }
        node.readings = Math.max(node.readings, ...perStart.values());
    }

    /** A schema that refers to itself without a value in between never begins. */
    private refuseEmptyCycles(param: string): void {
        const done = new Set<number>();
        const visit = (index: number, path: ReadonlySet<number>): void => {
            const { kind, children } = this.nodes[index]!;
            if (kind === "value" || done.has(index)) return;
            spend(1 + path.size);
            if (path.has(index)) throw unsupported(param, `\`${param}\` refers to itself without any value in between`);
            for (const child of children) visit(child, new Set([...path, index]));
            done.add(index);
        };
        for (const index of this.nodes.keys()) visit(index, new Set());
    }

    /** A value that must contain a value of its own schema never ends. */
    private refuseEndless(param: string): void {
        const finite = new Set<number>();
        for (let size = -1; size < finite.size; ) {
            size = finite.size;
            spend(this.nodes.length);
            // parts are mostly made before what contains them
            for (const [index, { kind, children, needed }] of this.nodes.entries()) {
                const has = (child: number) => finite.has(child);
                if (kind === "value" ? needed.every(has) : children.some(has)) finite.add(index);
            }
        }
        if (finite.size < this.nodes.length)
            throw unsupported(param, `\`${param}\` has a value that must contain itself, which never ends`);
    }

    private add(node: Node): number {
        return this.nodes.push(node) - 1;
    }
}
