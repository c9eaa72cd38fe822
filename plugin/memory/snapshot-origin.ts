import type { ArmtSnapshotInfo, ArmtSnapshotOrigin } from "../types.js";

/**
 * @param earlier fingerprints that earlier files of the context's model had
 * @returns why a snapshot does not fit a context, and what to do; undefined if it fits
 */
export function findMismatch(
    snapshot: ArmtSnapshotOrigin & Pick<ArmtSnapshotInfo, "openTokens">,
    context: ArmtSnapshotOrigin,
    earlier: readonly string[] = []
): string | undefined {
    if (snapshot.fingerprint !== context.fingerprint && !earlier.includes(snapshot.fingerprint))
        return (
            `it belongs to another model (fingerprint ${short(snapshot.fingerprint)}; this model has ` +
            `${short(context.fingerprint)}), or to an older file of this model; load the model file that it was made ` +
            "with, or name its fingerprint in `armt convert --earlier-fingerprint`"
        );
    const fits = isCutAlike(snapshot, context) && snapshot.openTokens <= context.openSegmentLimit;
    for (const [option, key] of contextOptions) {
        const [held, wanted] = [String(snapshot[key]), String(context[key])];
        if (held !== wanted && !(fits && lengthOptions.includes(key)))
            return `its ${option} is ${held}, and that of this context is ${wanted}; use the same options`;
    }
    return undefined;
}

/** Whether equal tokens leave equal memories in both: answers only grow until something else follows. */
function isCutAlike(a: ArmtSnapshotOrigin, b: ArmtSnapshotOrigin): boolean {
    return a.segmentOverflow !== "extend" && b.segmentOverflow !== "extend";
}

/** They say how long an open segment can be. */
const lengthOptions: readonly string[] = ["segmentOverflow", "openSegmentLimit"];

const contextOptions = [
    ["`armt.segmentSize`", "segmentSize"],
    ["`armt.segmentOverflow`", "segmentOverflow"],
    ["`armt.openSegmentLimit`", "openSegmentLimit"],
    ["K/V type", "kvTypes"],
    ["`armt.stateType`", "stateType"]
] as const;

function short(fingerprint: string): string {
    return fingerprint.slice(0, 12) || "none";
}
