import test from "ava";
import { Draw } from "../../../src/eval/questions/Draw.js";
import { readProse } from "../../../src/eval/questions/prose.js";
import { readStories, type StoryTask, storyTasks } from "../../../src/eval/stories/data.js";
import { tellStory } from "../../../src/eval/stories/simulate.js";
import { storyTexts } from "../../../src/eval/stories/stories.js";
import { makeTexts, wholeText } from "../../helpers/question-texts.js";

const data = await readStories();
const prose = await readProse();

function stories(task: StoryTask, count: number) {
    return Array.from({ length: count }, (_, seed) => {
        const draw = new Draw(seed, "test");
        const left = {
            people: draw.shuffle(data.people),
            places: draw.shuffle(data.places),
            things: draw.shuffle(data.things)
        };
        return tellStory(data, task, left, draw);
    });
}

/** Follows a story by its sentences alone. */
function follow(sentences: readonly string[]) {
    const at = new Map<string, string>();
    const carrier = new Map<string, string>();
    const trails = new Map<string, string[]>();
    const gifts: { from: string; thing: string; to: string }[] = [];
    const put = (thing: string, place: string) => {
        const trail = trails.get(thing) ?? [];
        if (trail.at(-1) !== place) trail.push(place);
        trails.set(thing, trail);
    };
    for (const sentence of sentences) {
        const [person = ""] = sentence.split(" ");
        const [, thing, to] = /(?:gave|handed|passed) the (\w+) to (\w+)\.$/.exec(sentence) ?? [];
        const [, taken] = /(?:picked up|got|took|grabbed) the (\w+) there\.$/.exec(sentence) ?? [];
        const [, dropped] = /(?:put down|dropped|left) the (\w+) there\.$/.exec(sentence) ?? [];
        const [, place] = /(?:went|moved|travelled|journeyed|went back) to the (\w+)\.$/.exec(sentence) ?? [];
        if (thing !== undefined) {
            if (carrier.get(thing) !== person) throw new Error(`${sentence} ${person} does not have it`);
            gifts.push({ from: person, thing, to: to! });
            carrier.set(thing, to!);
        } else if (taken !== undefined) {
            if (carrier.has(taken)) throw new Error(`${sentence} somebody has it`);
            const lies = trails.get(taken)?.at(-1);
            if (lies !== undefined && lies !== at.get(person)) throw new Error(`${sentence} it lies elsewhere`);
            carrier.set(taken, person);
            put(taken, at.get(person)!);
        } else if (dropped !== undefined) {
            if (carrier.get(dropped) !== person) throw new Error(`${sentence} ${person} does not have it`);
            carrier.delete(dropped);
        } else {
            at.set(person, place!);
            for (const [thing, who] of carrier) if (who === person) put(thing, place!);
        }
    }
    return { at, trails, gifts };
}

test("answers about people and things follow from the sentences", (t) => {
    for (const { sentences, questions } of stories("qa1", 60)) {
        const { at } = follow(sentences);
        t.is(questions.length, at.size);
        for (const { question, answer } of questions) t.is(at.get(/^Where is (\w+)\?$/.exec(question)![1]!), answer);
    }
    for (const { sentences, questions } of stories("qa2", 60)) {
        const { trails } = follow(sentences);
        for (const { question, answer } of questions)
            t.is(trails.get(/^Where is the (\w+)\?$/.exec(question)![1]!)?.at(-1), answer);
    }
    for (const { sentences, questions } of stories("qa3", 60)) {
        const { trails } = follow(sentences);
        for (const { question, answer } of questions) {
            const [, thing, place] = /^Where was the (\w+) before the (\w+)\?$/.exec(question)!;
            t.deepEqual(trails.get(thing!)?.slice(-2), [answer, place]);
        }
    }
});

test("questions about gifts have one right answer", (t) => {
    for (const { sentences, questions } of stories("qa5", 60)) {
        const { gifts } = follow(sentences);
        const last = gifts.filter(({ thing }, i) => !gifts.slice(i + 1).some((later) => later.thing === thing));
        for (const { question, answer } of questions) {
            const [, thing, to] = /^Who gave the (\w+) to (\w+)\?$/.exec(question) ?? [];
            const [, received] = /^Who received the (\w+)\?$/.exec(question) ?? [];
            const [, from, given] = /^What did (\w+) give to (\w+)\?$/.exec(question) ?? [];
            const right = last.filter(
                (gift) =>
                    (gift.thing === thing && gift.to === to) ||
                    gift.thing === received ||
                    (gift.from === from && gift.to === given)
            );
            t.is(right.length, 1, question);
            const { from: giver, to: taker, thing: what } = right[0]!;
            t.is(answer, thing !== undefined ? giver : received !== undefined ? taker : what);
        }
    }
});

test("maps say each side of a place once and join no two places twice", (t) => {
    for (const { sentences, questions } of stories("qa4", 60)) {
        t.is(questions.length, 2 * sentences.length);
        const sides = sentences.flatMap((sentence) => {
            const [, a, way, b] = /^The (\w+) is (\w+) of the (\w+)\.$/.exec(sentence)!;
            return [`${way} of ${b}`, `${data.ways[way!]} of ${a}`];
        });
        t.is(new Set(sides).size, sides.length);
        for (const { question, answer, evidence } of questions) t.true(sentences[evidence]!.includes(answer), question);
    }
});

test("texts of stories have the wanted length, and hold their answers", (t) => {
    for (const task of storyTasks)
        for (const text of makeTexts(storyTexts(data, prose, { task, count: 2 }), 2)) {
            const whole = wholeText(text);
            t.true(whole.length > 15_000 && whole.length < 4 * 4200);
            t.true(text.questions.length > 1);
            for (const { expected, score, depth } of text.questions) {
                t.true(whole.includes(expected));
                t.is(score(`The ${expected}.`), 1);
                t.is(score("nowhere"), 0);
                t.true(depth >= 0 && depth < 1);
            }
        }
});

test("more stories than there are people for are refused", (t) => {
    t.throws(() => makeTexts(storyTexts(data, prose, { task: "qa1", count: 40 }), 1, 50_000), {
        instanceOf: RangeError,
        message: /not enough people/
    });
});
