import { textTable } from "../util/table.js";
import { type Variant, variantOptions } from "./variants.js";

/** How well a variant predicts the later segments of the text. */
export type VariantResult = {
    variant: Variant;
    /** Number of tokens that were scored; the same ones for all variants. */
    tokens: number;
    /** Mean loss. Unit: nats. */
    loss: number;
    perplexity: number;
    /** Mean loss minus that of the best variant, token by token. Unit: nats. */
    behind: number;
    /** Standard error of `behind`. Unit: nats. */
    standardError: number;
};

export type Detection = {
    /** From the best variant to the worst. */
    results: VariantResult[];
    /** The best variant, if the second is clearly worse. */
    winner: Variant | undefined;
};

/** By how many standard errors the second variant must be worse. */
const CLEAR_ERRORS = 4;
/** By how much it must be worse. Unit: nats. */
const CLEAR_NATS = 0.01;

/** The losses of one variant, token by token. Unit: nats. */
export type Measured = { variant: Variant; losses: Float64Array };

/**
 * Keys and segment size are decided by the first round. A variant of the second round wins only if it is clearly
 * better, since correction and alignment often change nothing that can be measured.
 */
export function detection(first: readonly Measured[], second: readonly Measured[]): Detection {
    const { winner } = rank(first);
    const all = rank([...first, ...second]);
    if (winner === undefined) return { ...all, winner };
    const best = all.results[0]!.variant;
    const decided = all.results.find(({ variant }) => variant === winner)!;
    return { ...all, winner: best !== winner && isClear(decided) ? best : winner };
}

/** Ranks variants by their losses over the same tokens. The best wins if the second is clearly worse. */
export function rank(measured: readonly Measured[]): Detection {
    const ordered = measured
        .map((entry) => ({ ...entry, loss: mean(entry.losses) }))
        // a variant whose numbers overflow is the worst
        .map((entry) => ({ ...entry, loss: Number.isNaN(entry.loss) ? Number.POSITIVE_INFINITY : entry.loss }))
        .sort((a, b) => a.loss - b.loss);
    const best = ordered[0]!;
    const results = ordered.map(({ variant, losses, loss }) => {
        const differences = losses.map((value, i) => value - best.losses[i]!);
        const behind = loss - best.loss;
        const squares = differences.reduce((sum, value) => sum + (value - behind) ** 2, 0);
        const standardError = losses.length < 2 ? 0 : Math.sqrt(squares / (losses.length - 1) / losses.length);
        return { variant, tokens: losses.length, loss, perplexity: Math.exp(loss), behind, standardError };
    });
    const second = results[1];
    const clear = second === undefined || isClear(second);
    return { results, winner: clear && Number.isFinite(best.loss) ? best.variant : undefined };
}

function isClear({ behind, standardError }: VariantResult): boolean {
    return behind > CLEAR_NATS && !(behind <= CLEAR_ERRORS * standardError);
}

function mean(values: Float64Array): number {
    return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The table that `armt detect` prints. */
export function detectionTable({ results }: Detection): string {
    const rows = results.map(({ variant, perplexity, behind, standardError }) => [
        variantOptions(variant),
        perplexity.toFixed(3),
        behind === 0 ? "best" : `+${behind.toFixed(4)} ± ${standardError.toFixed(4)}`
    ]);
    return textTable(["variant", "perplexity", "loss above the best, nats"], rows);
}

/** The sentence below the table. */
export function detectionVerdict({ winner, results }: Detection): string {
    if (winner !== undefined) return `Clear: ${variantOptions(winner)}`;
    return results.length > 0 && Number.isFinite(results[0]!.loss)
        ? "Not clear: the best two are too close. Use a longer text of the kind that the model was trained on"
        : "Not clear: no variant gives finite numbers";
}
