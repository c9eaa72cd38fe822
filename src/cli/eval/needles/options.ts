import type { QuestionOptions } from "../questions/options.js";

export interface NeedlesOptions extends QuestionOptions {
    tasks: string;
    values: string;
    perText: number;
}
