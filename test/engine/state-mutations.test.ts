import test from "ava";
import { ArmtError, type LlamaContextSequence, type Token } from "../../plugin/index.js";
import { ArmtSnapshot } from "../../plugin/memory/ArmtSnapshot.js";
import { seededRandom } from "../../src/util/random.js";
import { loadTiny, readLogits, withContext } from "../helpers/contexts.js";
import { textIds } from "../helpers/tokens.js";

const rest = textIds(20, 96, 3);
/** Integers at which counts overflow or change their sign. */
const integers = [0, 1, 2, 16, 17, 0x7f, 0xff, 0x7fff_fffe, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];

/** A damaged copy of a state; most damage is in its first bytes, which are its counts. */
function mutate(state: Buffer, draw: () => number): Buffer {
    const below = (limit: number) => Math.floor(draw() * limit);
    const bytes = Buffer.from(state);
    for (let i = 1 + below(3); i > 0; i--) {
        const at = below(draw() < 0.8 ? 200 : state.length - 8);
        const kind = below(4);
        if (kind === 0) bytes[at] = bytes[at]! ^ (1 << below(8));
        else if (kind === 1) bytes.writeUInt32LE(integers[below(integers.length)]!, at);
        else if (kind === 2) bytes.writeBigUInt64LE(2n ** BigInt(below(64)) - BigInt(below(2)), at);
        else return bytes.subarray(0, at);
    }
    return bytes;
}

async function attempt(work: () => Promise<unknown>): Promise<boolean> {
    try {
        await work();
        return true;
    } catch (error) {
        if (error instanceof ArmtError) return false;
        throw error;
    }
}

for (const [segmentOverflow, options] of [
    ["close", {}],
    ["extend", {}],
    ["close", { rereadsPrevious: true }]
] as const)
    test(`damaged states are refused or usable, and leave nothing behind: ${segmentOverflow}, ${JSON.stringify(options)}`, async (t) => {
        const { model } = await loadTiny(t, { segmentSize: 16, layers: 2, ...options });
        await withContext(model, { sequences: 2, segmentOverflow }, async (context) => {
            const [sequence, other] = [context.getSequence(), context.getSequence()];
            const read = (reader: LlamaContextSequence, ids: readonly number[]) =>
                reader.evaluateWithoutGeneratingNewTokens(ids as Token[]);
            await read(other, textIds(16 * 2 + 9, 96));
            const good = await other.armt!.snapshot();
            const expected = await readLogits(other, rest);
            const { header, tokens, state } = good.parts;
            const draw = seededRandom(1, segmentOverflow);
            let accepted = 0;
            for (let i = 0; i < 300; i++) {
                const damaged = new ArmtSnapshot({ header, tokens, state: mutate(state, draw) });
                const isLoaded = await attempt(() => sequence.armt!.restore(damaged));
                if (isLoaded) accepted++;
                if (isLoaded) await attempt(() => readLogits(sequence, rest));
                if (i % 10 > 0) continue;
                await sequence.armt!.restore(good);
                t.deepEqual(await readLogits(sequence, rest), expected, `state ${i}`);
            }
            t.true(accepted > 5 && accepted < 250, `${accepted} of 300 were accepted`);
        });
    });
