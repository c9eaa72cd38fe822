import path from "node:path";
import test from "ava";
import fc from "fast-check";
import {
    ArmtMemoryStore,
    type ArmtSnapshot,
    type LlamaContext,
    type LlamaContextSequence,
    type Token
} from "../../plugin/index.js";
import { assertClose } from "../helpers/compare.js";
import { generateGreedy, loadTiny, readLogits, withContext } from "../helpers/contexts.js";
import { propertySeed } from "../helpers/property.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

const vocab = 40;
const segmentSize = 4;
const slots = 3;

/** An operation on a sequence. Numbers are taken modulo the number of tokens or slots. */
type Operation =
    | { type: "feed" | "prefill"; count: number; seed: number }
    | { type: "decode" | "remove" | "erase"; count: number }
    | { type: "fork" | "restore"; to: number }
    | { type: "close" | "clear" | "save" | "load" | "snapshot"; closedOnly: boolean };

const count = fc.integer({ min: 1, max: 14 });
const operations: fc.Arbitrary<Operation> = fc.oneof(
    { weight: 4, arbitrary: fc.record({ type: fc.constant("feed" as const), count, seed: fc.nat({ max: 3 }) }) },
    { weight: 2, arbitrary: fc.record({ type: fc.constant("prefill" as const), count, seed: fc.nat({ max: 3 }) }) },
    {
        weight: 3,
        arbitrary: fc.record({ type: fc.constantFrom("decode" as const, "remove" as const, "erase" as const), count })
    },
    {
        weight: 3,
        arbitrary: fc.record({
            type: fc.constantFrom("fork" as const, "restore" as const),
            to: fc.nat({ max: slots - 1 })
        })
    },
    {
        weight: 4,
        arbitrary: fc.record({
            type: fc.constantFrom(
                "close" as const,
                "clear" as const,
                "save" as const,
                "load" as const,
                "snapshot" as const
            ),
            closedOnly: fc.boolean()
        })
    }
);
const sequencesOfOperations = fc.array(fc.tuple(fc.nat({ max: slots - 1 }), operations), {
    minLength: 3,
    maxLength: 14
});

/** What a sequence must hold: its tokens, and the offsets at which a segment was closed early. */
type Model = {
    tokens: number[];
    closedAt: number[];
    /** node-llama-cpp's own checkpoints. */
    checkpoints: { length: number; closedAt: number[] }[];
};

/** Start of the open segment; a full segment is still open. */
function openStart({ tokens, closedAt }: Pick<Model, "tokens" | "closedAt">): number {
    let start = 0;
    for (const end of [...closedAt, Number.POSITIVE_INFINITY]) {
        while (start + segmentSize < Math.min(tokens.length, end)) start += segmentSize;
        if (end <= tokens.length) start = end;
    }
    return start;
}

const copyOf = ({ tokens, closedAt }: Model): Model => ({
    tokens: [...tokens],
    closedAt: [...closedAt],
    checkpoints: []
});

/** The same without the open segment. */
function closedPart(model: Model): Model {
    const start = openStart(model);
    // the rest ends with a closed segment, even if that segment was full
    return {
        tokens: model.tokens.slice(0, start),
        closedAt: [...model.closedAt.filter((end) => end < start), start].filter((end) => end > 0),
        checkpoints: []
    };
}

test("1,000 random sequences of operations leave what a simple model predicts", async (t) => {
    t.timeout(600_000);
    const { model } = await loadTiny(t, {
        vocab,
        segmentSize,
        layers: 2,
        hidden: 16,
        heads: 2,
        memTokens: 2,
        dMem: 16
    });
    const folder = temporaryFolder(t);
    const file = path.join(folder, "memory.armt");
    const store = await ArmtMemoryStore.open({ checkpointInterval: 1 });
    const truths = new Map<string, Float32Array>();
    let cases = 0;
    let checks = 0;

    await withContext(model, { sequences: slots + 1, schedule: "sequential" }, async (context) => {
        const truth = context.getSequence();
        /** Logits after the tokens of a model, read from the start. */
        const logitsOf = async ({ tokens, closedAt }: Model): Promise<Float32Array> => {
            const key = JSON.stringify([tokens, closedAt]);
            const known = truths.get(key);
            if (known !== undefined) return known;
            await truth.clearHistory();
            let start = 0;
            for (const end of [...closedAt, tokens.length]) {
                if (end > start) await truth.evaluateWithoutGeneratingNewTokens(tokens.slice(start, end) as Token[]);
                if (end < tokens.length || closedAt.includes(end)) await truth.armt!.closeSegment();
                start = end;
            }
            const logits = await readLogits(truth, [1]);
            truths.set(key, logits);
            return logits;
        };
        await fc.assert(
            fc.asyncProperty(sequencesOfOperations, async (steps) => {
                cases++;
                const world = new World(context, store, file);
                try {
                    for (const [slot, operation] of steps) {
                        await world.run(slot, operation);
                        world.check();
                    }
                    for (const { sequence, expected } of world.slots.values()) {
                        const close = { within: 2e-4, rowLength: vocab, what: JSON.stringify(expected) };
                        assertClose(t, await readLogits(sequence, [1]), await logitsOf(expected), close);
                        checks++;
                    }
                } finally {
                    await world.dispose();
                }
            }),
            { seed: propertySeed, numRuns: 1000, endOnFailure: true }
        );
    });
    t.is(cases, 1000);
    t.true(checks > 1000, `${checks} sequences were compared`);
    t.true(store.stats.hits > 100, `${store.stats.hits} prompts started from the store`);
    await store.dispose();
});

class World {
    readonly slots = new Map<number, { sequence: LlamaContextSequence; expected: Model }>();
    private saved: Model | undefined;
    private snapshot: { taken: ArmtSnapshot; expected: Model } | undefined;

    constructor(
        private readonly context: LlamaContext,
        private readonly store: ArmtMemoryStore,
        private readonly file: string
    ) {}

    async run(slot: number, operation: Operation): Promise<void> {
        const { sequence, expected } = this.at(slot);
        switch (operation.type) {
            case "feed": {
                const ids = textIds(operation.count, vocab, operation.seed + 1);
                await sequence.armt!.feed([ids as Token[]]);
                expected.tokens.push(...ids);
                break;
            }
            case "prefill": {
                // a prefix of what the sequence holds, and more, as a server does for each request
                const kept = expected.tokens.slice(0, expected.tokens.length - (operation.count % 5));
                const ids = [...kept, ...textIds(operation.count, vocab, operation.seed + 1)];
                await this.store.prefill(sequence, ids as Token[]);
                // the new tokens may start like the old ones continued
                const { tokens } = expected;
                let common = kept.length;
                while (common < tokens.length && tokens[common] === ids[common]) common++;
                this.rewind(slot, common);
                tokens.push(...ids.slice(common));
                break;
            }
            case "decode":
                if (expected.tokens.length === 0) break;
                // the last token of the text is passed, so that the tokens after it are generated
                expected.tokens.push(7, ...(await generateGreedy(sequence, [7], operation.count)).slice(0, -1));
                break;
            case "remove": {
                const open = expected.tokens.length - openStart(expected);
                const end = expected.tokens.length;
                const start = end - Math.min(operation.count, Math.max(0, open - 1));
                await sequence.eraseContextTokenRanges([{ start, end }]);
                this.rewind(slot, start, true);
                break;
            }
            case "erase": {
                const end = expected.tokens.length;
                const start = Math.max(0, end - operation.count);
                await sequence.eraseContextTokenRanges([{ start, end }]);
                this.rewind(slot, start, true);
                break;
            }
            case "fork": {
                if (operation.to === slot) break;
                await this.free(operation.to);
                this.slots.set(operation.to, { sequence: await sequence.armt!.fork(), expected: copyOf(expected) });
                break;
            }
            case "snapshot":
                this.snapshot?.taken.dispose();
                this.snapshot = {
                    taken: await sequence.armt!.snapshot({ closedOnly: operation.closedOnly }),
                    expected: operation.closedOnly ? closedPart(expected) : copyOf(expected)
                };
                break;
            case "restore":
                if (this.snapshot === undefined) break;
                await sequence.armt!.restore(this.snapshot.taken);
                this.slots.set(slot, { sequence, expected: copyOf(this.snapshot.expected) });
                break;
            case "save":
                await sequence.armt!.save(this.file, { closedOnly: operation.closedOnly });
                this.saved = operation.closedOnly ? closedPart(expected) : copyOf(expected);
                break;
            case "load":
                if (this.saved === undefined) break;
                await sequence.armt!.load(this.file);
                this.slots.set(slot, { sequence, expected: copyOf(this.saved) });
                break;
            case "close":
                await sequence.armt!.closeSegment();
                if (expected.tokens.length > openStart(expected)) expected.closedAt.push(expected.tokens.length);
                break;
            case "clear":
                await sequence.clearHistory();
                this.rewind(slot, 0);
                break;
        }
    }

    /** @throws if a sequence differs from its model */
    check(): void {
        for (const { sequence, expected } of this.slots.values()) {
            const { tokens, openTokens } = sequence.armt!;
            const said = { next: sequence.nextTokenIndex, tokens, openTokens, record: sequence.contextTokens };
            const { length } = expected.tokens;
            const open = length - openStart(expected);
            const meant = { next: length, tokens: length, openTokens: open, record: expected.tokens };
            if (JSON.stringify(said) !== JSON.stringify(meant))
                throw new Error(`${JSON.stringify(said)}, expected ${JSON.stringify({ ...meant, ...expected })}`);
        }
    }

    async dispose(): Promise<void> {
        for (const slot of [...this.slots.keys()]) await this.free(slot);
    }

    private at(slot: number): { sequence: LlamaContextSequence; expected: Model } {
        const found = this.slots.get(slot);
        if (found !== undefined) return found;
        const made = { sequence: this.context.getSequence(), expected: { tokens: [], closedAt: [], checkpoints: [] } };
        this.slots.set(slot, made);
        return made;
    }

    private async free(slot: number): Promise<void> {
        await this.slots.get(slot)?.sequence.dispose();
        this.slots.delete(slot);
    }

    /**
     * Removes tokens. Within the open segment they are just removed. Otherwise node-llama-cpp returns to its own last
     * checkpoint before them, or to the start, reads the rest again, and takes a checkpoint.
     */
    private rewind(slot: number, length: number, takesCheckpoint = false): void {
        const { expected } = this.at(slot);
        if (length === expected.tokens.length) return;
        const start = openStart(expected);
        expected.tokens.length = length;
        expected.checkpoints = expected.checkpoints.filter((checkpoint) => checkpoint.length <= length);
        if (length >= start && length > 0) {
            // the open segment is empty then, and the one before it stays closed
            if (length === start && expected.closedAt.at(-1) !== start) expected.closedAt.push(start);
            return;
        }
        const last = length > 1 ? expected.checkpoints.at(-1) : undefined;
        expected.closedAt = [...(last?.closedAt ?? [])];
        if (takesCheckpoint && length > (last?.length ?? 0))
            expected.checkpoints.push({ length, closedAt: [...expected.closedAt] });
    }
}
