import type { PreviousPositions } from "../formats/gguf/armt-keys.js";

/**
 * Versions of the authors' code that compute a segment differently. `outer` cuts the text before the model, the others
 * inside each layer. docs/convert.md describes them.
 */
export const dialects = ["outer", "inner", "inner-causal", "disjoint"] as const;
export type Dialect = (typeof dialects)[number];

/** What a dialect means for the rows of a segment. */
export type SegmentForm = {
    /** Memory rows attend to all memory rows of the segment, not only to those before them. */
    mutualMemory: boolean;
    previousPositions: PreviousPositions;
    /** Each layer starts from the learned memory rows, not from what the layer before made of them. */
    disjointMemory: boolean;
};

/** With a window, `outer` lets memory rows see one another; the code passes its own mask then. */
export function segmentFormOf(dialect: Dialect, slidingWindow: boolean): SegmentForm {
    const form = { mutualMemory: false, previousPositions: "continued", disjointMemory: false } as const;
    switch (dialect) {
        case "outer":
            return { ...form, mutualMemory: slidingWindow };
        case "inner":
            return { ...form, mutualMemory: true, previousPositions: slidingWindow ? "apart" : "continued" };
        case "inner-causal":
            return { ...form, previousPositions: slidingWindow ? "restarted" : "continued" };
        case "disjoint":
            return { ...form, mutualMemory: true, disjointMemory: true };
    }
}

/** The dialect with this form. Where two have the same, they compute the same. */
export function dialectOf(form: SegmentForm, slidingWindow: boolean): Dialect | undefined {
    return dialects.find((dialect) => {
        const own = segmentFormOf(dialect, slidingWindow);
        return (
            own.mutualMemory === form.mutualMemory &&
            own.disjointMemory === form.disjointMemory &&
            own.previousPositions === form.previousPositions
        );
    });
}
