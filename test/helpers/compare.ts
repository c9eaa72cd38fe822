import { pathToFileURL } from "node:url";
import type { ExecutionContext } from "ava";
import { openSafetensors } from "../../src/formats/safetensors/reader.js";
import { decodeNumbers } from "./decode-numbers.js";

export type Difference = {
    /** Largest absolute difference; NaN if either side has a NaN. */
    value: number;
    row: number;
    column: number;
    actual: number;
    expected: number;
    /** Largest absolute value expected anywhere. */
    scale: number;
};

/** Largest difference of two arrays of rows, and where it is. A NaN counts as the largest of all. */
export function largestDifference(
    actual: ArrayLike<number>,
    expected: ArrayLike<number>,
    rowLength: number
): Difference {
    if (actual.length !== expected.length) throw new Error(`${actual.length} numbers, expected ${expected.length}`);
    let at = 0;
    let value = 0;
    let scale = 0;
    for (let i = 0; i < expected.length; i++) {
        const difference = Math.abs(actual[i]! - expected[i]!);
        scale = Math.max(scale, Math.abs(expected[i]!));
        if (difference <= value) continue;
        at = i;
        value = difference;
        if (Number.isNaN(value)) break;
    }
    const position = { row: Math.floor(at / rowLength), column: at % rowLength };
    return { value, scale, ...position, actual: actual[at]!, expected: expected[at]! };
}

export function describeDifference({ value, row, column, actual, expected, scale }: Difference): string {
    const numbers = `${actual.toPrecision(9)} for ${expected.toPrecision(9)}, largest entry ${scale.toPrecision(4)}`;
    return `differs by ${value.toExponential(2)} at row ${row}, column ${column} (${numbers})`;
}

/** |actual - expected| / |expected|, with norms over all numbers. */
export function relativeDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
    if (actual.length !== expected.length) throw new Error(`${actual.length} numbers, expected ${expected.length}`);
    let difference = 0;
    let all = 0;
    for (let i = 0; i < expected.length; i++) {
        difference += (actual[i]! - expected[i]!) ** 2;
        all += expected[i]! ** 2;
    }
    // a layer without memory has zeros
    return difference === 0 ? 0 : Math.sqrt(difference / all);
}

export function rootMeanSquare(values: ArrayLike<number>): number {
    let squares = 0;
    for (let i = 0; i < values.length; i++) squares += values[i]! ** 2;
    return Math.sqrt(squares / values.length);
}

export type Tolerance = {
    /** Largest absolute difference that passes. */
    within: number;
    /** Take `within` as a share of the largest expected entry. Default: `false`. */
    relative?: boolean;
    /** Numbers in a row, for the message. */
    rowLength: number;
    /** What is compared, for the message. */
    what: string;
};

/** Asserts that two arrays agree. A failure gives the largest difference and its position. */
export function assertClose(
    t: ExecutionContext,
    actual: ArrayLike<number>,
    expected: ArrayLike<number>,
    { within, relative = false, rowLength, what }: Tolerance
): Difference {
    const difference = largestDifference(actual, expected, rowLength);
    const limit = relative ? within * difference.scale : within;
    t.true(difference.value <= limit, `${what} ${describeDifference(difference)}; at most ${limit.toExponential(1)}`);
    return difference;
}

/**
 * Compares two safetensors files tensor by tensor:
 * `node dist/test/helpers/compare.js actual expected [segment size]`.
 */
async function main([actualPath, expectedPath, segmentSize]: string[]): Promise<void> {
    if (actualPath === undefined || expectedPath === undefined)
        throw new Error("usage: compare.js <actual.safetensors> <expected.safetensors> [segment size]");
    const actual = await openSafetensors(actualPath);
    const expected = await openSafetensors(expectedPath);
    for (const [name, { dtype, shape }] of expected.tensors) {
        const other = actual.tensors.get(name);
        if (other === undefined) {
            console.log(`${name}: only expected`);
            continue;
        }
        const difference = largestDifference(
            decodeNumbers(other.dtype, await actual.read(name)),
            decodeNumbers(dtype, await expected.read(name)),
            shape.at(-1) ?? 1
        );
        const segment = segmentSize === undefined ? undefined : Math.floor(difference.row / Number(segmentSize));
        const place = name === "logits" && segment !== undefined ? ` (segment ${segment})` : "";
        console.log(`${name} [${shape.join(", ")}]: ${describeDifference(difference)}${place}`);
    }
    await actual.close();
    await expected.close();
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main(process.argv.slice(2));
