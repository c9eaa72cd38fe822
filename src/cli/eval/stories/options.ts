import type { QuestionOptions } from "../questions/options.js";

export interface StoriesOptions extends QuestionOptions {
    tasks: string;
    perText: number;
}
