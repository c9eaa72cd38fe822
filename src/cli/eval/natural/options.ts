import type { QuestionOptions } from "../questions/options.js";

export interface NaturalOptions extends QuestionOptions {
    perText: number;
}
