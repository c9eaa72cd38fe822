import { Draw } from "../questions/Draw.js";
import { namesOnly } from "../questions/grading.js";
import { hide } from "../questions/hide.js";
import { type Prose, proseFiller } from "../questions/prose.js";
import type { MakeText } from "../questions/question.js";
import type { StoryData, StoryTask } from "./data.js";
import { type StoryQuestion, tellStory } from "./simulate.js";

/**
 * Texts with stories. The sentences of each keep their order and are spread over the text. Stories of one text share
 * neither people nor things, and maps no places.
 * @param count stories in a text
 */
export function storyTexts(
    data: StoryData,
    prose: Prose,
    { task, count }: { task: StoryTask; count: number }
): MakeText {
    const parts = [...data.people, ...data.places, ...data.things];
    return ({ tokens, seed, countTokens }) => {
        const draw = new Draw(seed, "stories");
        const left = {
            people: draw.shuffle(data.people),
            places: draw.shuffle(data.places),
            things: draw.shuffle(data.things)
        };
        const hidden: { sentence: string; depth: number }[] = [];
        const asked: StoryQuestion[] = [];
        for (let story = 0; story < count; story++) {
            if (task !== "qa4") left.places = draw.shuffle(data.places);
            const { sentences, questions } = tellStory(data, task, left, draw);
            const depths = draw.depths(sentences.length);
            for (const [i, sentence] of sentences.entries()) hidden.push({ sentence, depth: depths[i]! });
            for (const question of questions) asked.push({ ...question, evidence: depths[question.evidence]! });
        }
        hidden.sort((a, b) => a.depth - b.depth);
        const write = () => {
            const filler = new Draw(seed, "filler");
            return hide(hidden, {
                tokens,
                filler: proseFiller(prose, filler),
                draw: filler,
                countTokens,
                what: "sentences of stories"
            });
        };
        write();
        const questions = asked.map(({ question, answer, evidence }) => ({
            text: question,
            kind: task,
            expected: answer,
            depth: evidence,
            score: (given: string) => Number(namesOnly(given, answer, question, parts))
        }));
        return { questions, sentences: write };
    };
}
