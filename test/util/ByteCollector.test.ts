import test from "ava";
import fc from "fast-check";
import { ByteCollector } from "../../src/util/ByteCollector.js";
import { propertySeed } from "../helpers/property.js";

test("collected bytes are those that were pushed, in buffers of their own", (t) => {
    const lengths = fc.array(fc.oneof(fc.nat(50), fc.nat(200_000)), { maxLength: 20 });
    fc.assert(
        fc.property(lengths, fc.boolean(), (lengths, isShared) => {
            const collector = new ByteCollector();
            const pushed = lengths.map((length, i) => {
                const buffer = isShared ? new Uint8Array(length + 9).subarray(4, 4 + length) : new Uint8Array(length);
                return buffer.fill(i + 1);
            });
            for (const piece of pushed) collector.push(piece);
            const expected = Buffer.concat(pushed);
            t.is(collector.length, expected.length);
            const pieces = collector.take();
            t.true(Buffer.concat(pieces).equals(expected));
            const buffers = pieces.map(({ buffer }) => buffer);
            t.is(new Set(buffers).size, buffers.length);
            if (isShared) t.false(pushed.some(({ buffer }) => buffers.includes(buffer)));
            t.deepEqual(collector.take(), []);
        }),
        { seed: propertySeed, numRuns: 50 }
    );
});
