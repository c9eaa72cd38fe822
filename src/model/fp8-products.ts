import type { ArmtPrecision, ArmtProduct, LlamaContext } from "../../plugin/index.js";
import { defaultProducts, products } from "../../plugin/native/enums.js";
import { readChoices } from "../util/choices.js";
import { UsageError } from "../util/failure.js";

/**
 * The products that `--precision fp8` is for; undefined with another precision.
 * @throws {UsageError} for a name that does not exist, and for names without `--precision fp8`
 */
export function readFp8Products({
    precision,
    fp8Products
}: {
    precision?: ArmtPrecision;
    fp8Products?: string;
}): ArmtProduct[] | undefined {
    if (precision !== "fp8") {
        if (fp8Products !== undefined) throw new UsageError("--fp8-products needs --precision fp8");
        return undefined;
    }
    return fp8Products === undefined ? [...defaultProducts] : readChoices("fp8-products", fp8Products, products);
}

/** What a context has computed in FP8. */
export interface Fp8Use {
    /** The products that were to be in FP8. */
    readonly products: readonly ArmtProduct[];
    /** Products so far: those in FP8, and those of 32 rows or more that were left in 16 bits. */
    readonly computed: number;
    readonly left: number;
}

/** What a context has computed in FP8; undefined with another precision. */
export function fp8Use({ armt }: Pick<LlamaContext, "armt">): Fp8Use | undefined {
    return armt?.precision === "fp8" ? { products: armt.fp8Products, ...armt.fp8Counts } : undefined;
}

/** The line that a command prints below its results. */
export function fp8Line({ products, computed, left }: Fp8Use): string {
    return `FP8 (${products.join(", ")}): ${computed} products computed, ${left} left in 16 bits\n`;
}
