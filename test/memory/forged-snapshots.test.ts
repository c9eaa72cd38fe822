import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { crc32 } from "node:zlib";
import test from "ava";
import fc from "fast-check";
import { ArmtError, ArmtSnapshot, type LlamaContextSequence, type Token } from "../../plugin/index.js";
import { describeSnapshot } from "../../plugin/memory/describe-snapshot.js";
import { align, fixedBytes } from "../../plugin/memory/snapshot-header.js";
import { generateGreedy, loadTiny, readLogits, withContext } from "../helpers/contexts.js";
import { propertySeed } from "../helpers/property.js";
import { temporaryFolder } from "../helpers/temporary.js";
import { textIds } from "../helpers/tokens.js";

// Files with right checksums, as an attacker makes them: everything else in them may be wrong.

/** Forged files; `ARMT_FUZZ_RUNS` sets another number. */
const numRuns = Number(process.env.ARMT_FUZZ_RUNS ?? 300);
/** No case begins after this time, if `ARMT_FUZZ_SECONDS` sets it. Unit: milliseconds. */
const maxTime = 1000 * Number(process.env.ARMT_FUZZ_SECONDS ?? 0);
const vocab = 96;
const rest = textIds(20, vocab, 3);

/** What a forger does to a file. */
interface Forgery {
    /** A member of the header gets another value, or is left out. */
    readonly member: { readonly key: number; readonly value: unknown } | undefined;
    /** A text behind the header's first brace: a member that occurs twice, or that no version has. */
    readonly added: string | undefined;
    /** The number of tokens and sizes that the header states, rather than the right ones. */
    readonly lies: Readonly<Record<"tokensRead" | "stateBytes" | "bodyChecksum", number | undefined>>;
    readonly token: { readonly at: number; readonly id: number } | undefined;
    readonly state: readonly { readonly at: number; readonly bytes: Uint8Array }[];
    /** Where the state ends. */
    readonly cut: number | undefined;
    /** Behind the end of the file. */
    readonly tail: Uint8Array | undefined;
}

const integers = [-1, 0, 1, 2, 7, 8, 16, 41, 42, 43, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 1e300];
const number = fc.oneof(fc.constantFrom(...integers), fc.integer(), fc.double());
const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom("__proto__", "constructor", "close", "extend", "f16", "\u001b[2J\r\n", "x".repeat(5000))
);
const value = fc.oneof(
    fc.constant(undefined),
    number,
    text,
    fc.boolean(),
    fc.constant(null),
    fc.jsonValue({ maxDepth: 3 })
);
/** One in a few, since a file with several faults is refused for the first. */
function seldom<T>(arbitrary: fc.Arbitrary<T>, once: number): fc.Arbitrary<T | undefined> {
    return fc.oneof({ weight: once - 1, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary });
}

const lie = seldom(fc.oneof(fc.constantFrom(...integers), fc.nat()), 16);
const member = fc.record({ key: fc.nat(), value });
const added = fc.oneof(
    fc.tuple(text, fc.jsonValue({ maxDepth: 2 })).map(([key, each]) => `${JSON.stringify(key)}:${json(each)}`),
    fc.constantFrom('"tokensRead":5', '"__proto__":{"hasTokenIds":true}', `"x":${"[".repeat(9000)}`)
);
const wrongToken = fc.record({ at: fc.nat(), id: fc.oneof(fc.nat(2 * vocab), fc.constant(2 ** 32 - 1)) });
const forgery: fc.Arbitrary<Forgery> = fc.record({
    member: seldom(member, 4),
    added: seldom(added, 8),
    lies: fc.record({ tokensRead: lie, stateBytes: lie, bodyChecksum: lie }),
    token: seldom(wrongToken, 4),
    state: fc.array(
        fc.record({
            // counts are in the first bytes
            at: fc.oneof({ weight: 4, arbitrary: fc.nat(240) }, { weight: 1, arbitrary: fc.nat() }),
            bytes: fc.uint8Array({ minLength: 1, maxLength: 8 })
        }),
        { maxLength: 2 }
    ),
    cut: seldom(fc.nat(), 16),
    tail: seldom(fc.uint8Array({ minLength: 1 }), 16)
});

function json(each: unknown): string {
    return JSON.stringify(each) ?? "null";
}

/** Text of an object without members of `undefined`. */
function headerText(header: object, forged: Forgery): string {
    const members = Object.entries(header);
    if (forged.member) members[forged.member.key % members.length]![1] = forged.member.value;
    const kept = members.filter(([, each]) => each !== undefined).map(([key, each]) => `${json(key)}:${json(each)}`);
    return `{${[...(forged.added ? [forged.added] : []), ...kept].join(",")}}`;
}

/** A file with these parts, changed, and right checksums. */
function forge({ parts }: ArmtSnapshot, forged: Forgery): Buffer {
    const ids = Buffer.from(Uint32Array.from(parts.tokens ?? []).buffer);
    if (forged.token) ids.writeUInt32LE(forged.token.id, 4 * (forged.token.at % (ids.length / 4)));
    let state = Buffer.from(parts.state);
    for (const { at, bytes } of forged.state) state.set(bytes, at % (state.length - bytes.length));
    if (forged.cut !== undefined) state = state.subarray(0, forged.cut % (state.length + 1));
    const right = { ...parts.header, stateBytes: state.length, bodyChecksum: crc32(state, crc32(ids)) };
    const lies = Object.fromEntries(Object.entries(forged.lies).filter(([, each]) => each !== undefined));
    const head = Buffer.from(headerText({ ...right, ...lies }, forged));
    const fixed = Buffer.alloc(fixedBytes);
    fixed.write("ARMTSNAP", "latin1");
    fixed.writeUInt32LE(1, 8);
    fixed.writeUInt32LE(head.length, 12);
    fixed.writeUInt32LE(crc32(head, crc32(fixed.subarray(0, 16))), 16);
    const { tail = new Uint8Array() } = forged;
    const bodyStart = align(fixedBytes + head.length);
    const bytes = Buffer.alloc(align(bodyStart + ids.length) + state.length + tail.length);
    fixed.copy(bytes);
    head.copy(bytes, fixedBytes);
    ids.copy(bytes, bodyStart);
    state.copy(bytes, align(bodyStart + ids.length));
    bytes.set(tail, bytes.length - tail.length);
    return bytes;
}

/** @returns the message of an `ArmtError`; undefined without one */
async function refusal(work: () => Promise<unknown>): Promise<string | undefined> {
    try {
        await work();
        return undefined;
    } catch (error) {
        if (!(error instanceof ArmtError)) throw error;
        return error.message;
    }
}

/** Nothing of a file may steer the terminal, or look like a line of the program. */
function checkShown(shown: string): void {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what this looks for
    const control = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029]/.exec(shown);
    if (control) throw new Error(`a control character is shown: ${JSON.stringify(shown)}`);
}

for (const segmentOverflow of ["close", "extend", "answer"] as const)
    test(`forged snapshots are refused and change nothing, or can be worked with: ${segmentOverflow}`, async (t) => {
        const { model } = await loadTiny(t, { segmentSize: 16, layers: 2, vocab });
        const file = path.join(temporaryFolder(t), "forged.armt");
        await withContext(model, { sequences: 2, segmentOverflow }, async (context) => {
            const [sequence, other] = [context.getSequence(), context.getSequence()];
            const read = (reader: LlamaContextSequence, count: number) =>
                reader.evaluateWithoutGeneratingNewTokens(textIds(count, vocab) as Token[]);
            await read(other, 16 * 2 + 9);
            // where answers grow, the segment is longer than others
            if (segmentOverflow === "answer") await generateGreedy(other, [7], 12);
            const good = await other.armt!.snapshot();
            const expected = await readLogits(other, rest);
            await read(sequence, 21);
            const held = await sequence.armt!.snapshot();
            const [heldBytes, heldTokens] = [held.parts.state, [...sequence.contextTokens]];

            const end = maxTime > 0 ? performance.now() + maxTime : Number.POSITIVE_INFINITY;
            let [cases, accepted] = [0, 0];
            const property = fc.asyncProperty(forgery, async (forged) => {
                if (performance.now() > end) return;
                cases++;
                writeFileSync(file, forge(good, forged));
                const shown = await refusal(async () => checkShown((await describeSnapshot(file)).toText()));
                if (shown !== undefined && /[\r\n]/.test(shown)) throw new Error(`two lines: ${shown}`);
                const why = await refusal(() => sequence.armt!.load(file));
                if (why !== undefined) {
                    checkShown(why);
                    if (why.includes("\n")) throw new Error(`two lines: ${why}`);
                    const now = await sequence.armt!.snapshot();
                    if (!now.parts.state.equals(heldBytes)) throw new Error(`refused (${why}), and the state changed`);
                    const tokens = sequence.contextTokens;
                    if (tokens.some((id, i) => id !== heldTokens[i]) || tokens.length !== heldTokens.length)
                        throw new Error(`refused (${why}), and the tokens changed`);
                    return;
                }
                accepted++;
                if (sequence.nextTokenIndex !== sequence.armt!.tokens) throw new Error("the record has another length");
                model.detokenize(sequence.contextTokens);
                await refusal(() => sequence.eraseContextTokenRanges([{ start: 50, end: 60 }]));
                await refusal(() => readLogits(sequence, rest));
                await refusal(() => sequence.armt!.save(file));
                await sequence.armt!.restore(good);
                t.deepEqual(await readLogits(sequence, rest), expected);
                await sequence.armt!.restore(held);
            });
            await fc.assert(property, { numRuns, seed: propertySeed });
            t.log(`${cases} files, ${accepted} accepted`);
            t.true(accepted > 0 && accepted < cases, `${accepted} of ${cases} were accepted`);
        });
    });

test("the file that is forged is right, unless it is changed", async (t) => {
    const { model } = await loadTiny(t, { segmentSize: 16, layers: 1 });
    const file = path.join(temporaryFolder(t), "right.armt");
    await withContext(model, {}, async (context) => {
        const sequence = context.getSequence();
        await sequence.evaluateWithoutGeneratingNewTokens(textIds(21, vocab) as Token[]);
        await sequence.armt!.save(file);
        const nothing = { member: undefined, added: undefined, token: undefined, state: [], cut: undefined };
        const lies = { tokensRead: undefined, stateBytes: undefined, bodyChecksum: undefined };
        t.deepEqual(forge(await ArmtSnapshot.load(file), { ...nothing, lies, tail: undefined }), readFileSync(file));
    });
});
