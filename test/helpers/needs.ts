import process from "node:process";
import test, { type ExecutionContext } from "ava";

type Body = (t: ExecutionContext) => void | Promise<void>;
type Declare = (title: string, body: Body) => void;

export type Need = {
    /** What the tests need, as words for a title. */
    needs: string;
    /** Whether this machine has it. */
    available: boolean;
    /** Whether CI must have it, so that its absence fails the tests there. Default: `false`. */
    inCi?: boolean;
};

/**
 * `test.serial` on a machine that has what its tests need. Elsewhere the tests are skipped, and their titles say why.
 * If `CI` is set and `inCi` is true, they fail instead.
 */
export function testWith({ needs, available, inCi = false }: Need): Declare {
    if (available) return (title, body) => test.serial(title, body);
    if (inCi && process.env.CI) return (title) => test(title, (t) => t.fail(`CI must have ${needs}`));
    return (title, body) => test.skip(`${title} (skipped: needs ${needs})`, body);
}

/** Only x64 has a CUDA variant. */
export const cudaVariantTest = testWith({
    needs: "x64, the only platform with a CUDA variant",
    available: process.arch === "x64"
});
