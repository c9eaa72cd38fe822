import type { ArmtModelKeys as ModelKeys } from "../../src/formats/gguf/armt-keys.js";
import type { ArmtModelInfo } from "../types.js";

/** `general.architecture` of an ARMT model file. */
export const armtArchitecture = "armt";

/** The public part of what `readArmtKeys` read from a model file. */
export function modelInfoOf({ memory, ...keys }: ModelKeys): ArmtModelInfo {
    return {
        baseArchitecture: keys.baseArchitecture,
        segmentSize: keys.segmentSize,
        segmentAlignment: keys.segmentAlignment,
        memoryKind: memory.kind,
        memoryTokens: memory.tokenCount,
        keyLength: memory.keyLength,
        dpfpOrder: memory.dpfpOrder,
        memoryHeads: memory.headCount,
        normalizeKeys: memory.normalizeKeys,
        useDenom: memory.useDenom,
        correction: memory.correction,
        gating: memory.gating,
        sinkTokens: keys.sinkCount,
        seesPreviousSegment: keys.seesPreviousSegment,
        rereadsPreviousSegment: keys.rereadsPreviousSegment,
        layers: keys.blockCount,
        embeddingLength: keys.embeddingLength,
        vocabSize: keys.vocabSize,
        ask: keys.ask,
        fingerprint: keys.fingerprint,
        earlierFingerprints: keys.earlierFingerprints
    };
}
