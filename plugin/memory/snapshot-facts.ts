import { GgmlType, type LlamaContext } from "node-llama-cpp";
import type { ArmtContext } from "../ArmtContext.js";
import type { ArmtModelFacts } from "../facts.js";
import type { ArmtSegmentOverflow, ArmtStateType } from "../options.js";

/** What decides whether a state of one context makes sense in another: the model, and the options that change what is computed. */
export interface ArmtSnapshotOrigin {
    /** `armt.fingerprint` of the model file. */
    readonly fingerprint: string;
    /** Text tokens in a segment. */
    readonly segmentSize: number;
    /** What happens when the open segment is full. */
    readonly segmentOverflow: ArmtSegmentOverflow;
    /** Tokens that fit into an open segment. */
    readonly openSegmentLimit: number;
    /** Number types of the open segment's K/V cache, as ggml names them. */
    readonly kvTypes: readonly [keys: string, values: string];
    /** Number type of A and z. */
    readonly stateType: ArmtStateType;
}

/** What a snapshot holds. */
export interface ArmtSnapshotFacts extends ArmtSnapshotOrigin {
    /** Tokens read. */
    readonly tokensRead: number;
    /** Of these, the ones in the open segment; 0 where only closed segments were saved. */
    readonly openTokens: number;
    /** Segments closed. */
    readonly segmentsClosed: number;
    /** Whether the ids of the tokens are held too. Without them a chat session cannot tell what was read. */
    readonly hasTokenIds: boolean;
}

export function originOf(context: LlamaContext, armt: ArmtContext, facts: ArmtModelFacts): ArmtSnapshotOrigin {
    return {
        fingerprint: facts.fingerprint,
        segmentSize: armt.segmentSize,
        segmentOverflow: armt.segmentOverflow,
        openSegmentLimit: armt.openSegmentLimit,
        kvTypes: [typeName(context.kvCacheKeyType), typeName(context.kvCacheValueType)],
        stateType: armt.stateType
    };
}

/** @returns why a snapshot does not fit a context, and what to do; undefined where it fits */
export function findMismatch(snapshot: ArmtSnapshotOrigin, context: ArmtSnapshotOrigin): string | undefined {
    if (snapshot.fingerprint !== context.fingerprint)
        return `it is of another model (fingerprint ${short(snapshot.fingerprint)}, this one has ${short(context.fingerprint)}); load the model file that it was made with`;
    for (const [option, key] of contextOptions) {
        const [held, wanted] = [String(snapshot[key]), String(context[key])];
        if (held !== wanted) return `its ${option} is ${held} and this context's is ${wanted}; make the context alike`;
    }
    return undefined;
}

const contextOptions = [
    ["`armt.segmentSize`", "segmentSize"],
    ["`armt.segmentOverflow`", "segmentOverflow"],
    ["`armt.openSegmentLimit`", "openSegmentLimit"],
    ["K/V type", "kvTypes"],
    ["`armt.stateType`", "stateType"]
] as const;

function typeName(type: GgmlType | undefined): string {
    return GgmlType[type ?? GgmlType.F16] ?? String(type);
}

function short(fingerprint: string): string {
    return fingerprint.slice(0, 12) || "none";
}
