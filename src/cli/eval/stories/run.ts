import type { Writable } from "node:stream";
import { readProse } from "../../../eval/questions/prose.js";
import { readStories, storyTasks } from "../../../eval/stories/data.js";
import { storyTexts } from "../../../eval/stories/stories.js";
import { readChoices } from "../../../util/choices.js";
import { readForms, readLengths } from "../questions/options.js";
import { evaluateQuestions } from "../questions/run.js";
import type { StoriesOptions } from "./options.js";

/** Measures what a model knows at the end of stories. */
export async function evaluateStories(options: StoriesOptions, signal: AbortSignal, output: Writable): Promise<void> {
    const lengths = readLengths(options.lengths);
    const tasks = readChoices("tasks", options.tasks, storyTasks);
    const forms = readForms(options.form, ["chat", "plain"]);
    const { perText } = options;
    const data = await readStories();
    const prose = await readProse();
    const kinds = tasks.map((task) => ({
        name: task,
        makeText: storyTexts(data, prose, { task, count: perText }),
        lengths: () => lengths,
        // a story has about three questions
        perText: 3 * perText
    }));
    const evaluation = { command: "stories", title: "stories", kinds, forms, settings: { perText } };
    await evaluateQuestions(options, evaluation, signal, output);
}
