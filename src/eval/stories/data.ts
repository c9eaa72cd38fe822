import { readTaskData } from "../questions/data.js";

export const storyTasks = ["qa1", "qa2", "qa3", "qa4", "qa5"] as const;
export type StoryTask = (typeof storyTasks)[number];

type Range = readonly [least: number, most: number];

/** `assets/eval/stories.json`: parts of stories of the bAbI kind (arXiv 1502.05698) that no training uses. */
export interface StoryData {
    readonly people: readonly string[];
    readonly places: readonly string[];
    readonly things: readonly string[];
    readonly sentences: Readonly<Record<"move" | "take" | "drop" | "give" | "map", readonly string[]>>;
    /** Each direction and its opposite. */
    readonly ways: Readonly<Record<string, string>>;
    readonly tasks: Readonly<Record<StoryTask, StorySizes>>;
}

export interface StorySizes {
    readonly people?: Range;
    readonly places: Range;
    readonly things?: Range | 0;
    readonly sentences: Range;
}

export const readStories = () => readTaskData<StoryData>("stories");
