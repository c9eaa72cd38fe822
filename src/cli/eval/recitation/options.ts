import type { QuestionOptions } from "../questions/options.js";

export interface RecitationOptions extends QuestionOptions {
    perText: number;
}
