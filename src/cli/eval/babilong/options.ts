import type { ArmtSegmentAlignment } from "../../../../plugin/index.js";
import type { ModelOptions } from "../../../model/options.js";

export interface BabilongOptions extends ModelOptions {
    data: string;
    tasks?: string;
    lengths?: string;
    samples?: number;
    template?: string;
    chat: boolean;
    perSentence: boolean;
    answerToken?: string;
    oneWord: boolean;
    segmentAlignment?: ArmtSegmentAlignment;
    maxTokens: number;
    json?: string;
    plot?: string;
}
