import type { ArmtPrecision, ArmtProduct } from "../../plugin/index.js";
import { products } from "../../plugin/native/enums.js";
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
    return fp8Products === undefined ? [...products] : readChoices("fp8-products", fp8Products, products);
}
