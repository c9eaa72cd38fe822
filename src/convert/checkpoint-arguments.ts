import type { ArmtFlags, SegmentAlignment } from "./armt-config.js";
import type { Dialect } from "./dialects.js";
import type { LoraFlags } from "./lora/lora.js";

/** Command-line values for properties that a checkpoint's own files may lack. */
export type CheckpointArguments = {
    base?: string;
    segmentAlignment?: SegmentAlignment;
    nHeads?: number;
    normalizeKeys?: boolean;
    useDenom?: boolean;
    correction?: boolean;
    gating?: boolean;
    wrapPos?: boolean;
    memorySeesText?: boolean;
    useSink?: boolean;
    slidingWindow?: boolean;
    attendToPreviousInput?: boolean;
    dialect?: Dialect;
    numMemTokens?: number;
    dMem?: number;
    loraAlpha?: number;
    rslora?: boolean;
};

export function armtFlags(argv: CheckpointArguments): ArmtFlags {
    return {
        segmentAlignment: argv.segmentAlignment,
        headCount: argv.nHeads,
        normalizeKeys: argv.normalizeKeys,
        useDenom: argv.useDenom,
        correction: argv.correction,
        gating: argv.gating,
        wrapPositions: argv.wrapPos,
        memoryAttendsToText: argv.memorySeesText,
        sink: argv.useSink,
        slidingWindow: argv.slidingWindow,
        rereadsPrevious: argv.attendToPreviousInput,
        dialect: argv.dialect,
        memoryTokens: argv.numMemTokens,
        memoryKeySize: argv.dMem
    };
}

export function loraFlags({ loraAlpha, rslora }: CheckpointArguments): LoraFlags {
    return { alpha: loraAlpha, rankStabilized: rslora };
}
