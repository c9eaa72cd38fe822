import type { ExecutionContext } from "ava";
import type { ReferenceModel } from "./checkpoint.js";
import { assertClose } from "./compare.js";

type Memory = { a: ArrayLike<number>; z: ArrayLike<number> };

/** Largest difference of an engine's memories, as a share of the largest entry. */
export const MEMORY_TOLERANCE = 1e-4;

/** Asserts that the memories of all layers agree, and z if the model has one. */
export function assertMemories(
    t: ExecutionContext,
    actual: readonly Memory[],
    expected: readonly Memory[],
    { hidden, nHeads, useDenom }: Pick<ReferenceModel, "hidden" | "nHeads" | "useDenom">,
    { what = "", within = MEMORY_TOLERANCE }: { what?: string; within?: number } = {}
): void {
    t.is(actual.length, expected.length);
    const close = { within, relative: true };
    for (const [il, { a, z }] of expected.entries()) {
        const memory = actual[il]!;
        assertClose(t, memory.a, a, { ...close, rowLength: hidden / nHeads, what: `${what} A of layer ${il}` });
        if (useDenom) assertClose(t, memory.z, z, { ...close, rowLength: z.length, what: `${what} z of layer ${il}` });
    }
}
