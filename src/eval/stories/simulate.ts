import type { Draw } from "../questions/Draw.js";
import type { StoryData, StorySizes, StoryTask } from "./data.js";

export interface StoryQuestion {
    readonly question: string;
    readonly answer: string;
    /** Number of the sentence after which the answer is known. */
    readonly evidence: number;
}

export interface Story {
    readonly sentences: readonly string[];
    readonly questions: readonly StoryQuestion[];
}

/** Parts that no story of the text has used yet. */
export interface StoryParts {
    people: string[];
    places: string[];
    things: string[];
}

interface Cast {
    readonly people: readonly string[];
    readonly places: readonly string[];
    readonly things: readonly string[];
}

/** Stories that give no question are drawn again. */
const tries = 100;

/**
 * Simulates a story and asks about its end.
 * @param left parts to draw from; those of the story are taken out
 * @throws {RangeError} if there are not enough parts left
 */
export function tellStory(data: StoryData, task: StoryTask, left: StoryParts, draw: Draw): Story {
    const sizes = data.tasks[task];
    const cast = {
        people: take(left.people, sizes.people, "people", draw),
        places: take(left.places, sizes.places, "places", draw),
        things: take(left.things, sizes.things || undefined, "things", draw)
    };
    for (let i = 0; i < tries; i++) {
        const story = task === "qa4" ? tellMap(data, cast, sizes, draw) : tellMoves(data, task, cast, sizes, draw);
        if (story.questions.length > 0) return story;
    }
    throw new RangeError(`no story of ${task} with a question was found in ${tries} tries`);
}

function take(from: string[], range: readonly [number, number] | undefined, what: string, draw: Draw): string[] {
    if (range === undefined) return [];
    const count = draw.integer(...range);
    if (count > from.length)
        throw new RangeError(`a text can't hold that many stories: there are not enough ${what}; hide fewer`);
    return from.splice(0, count);
}

function fill(form: string, slots: Readonly<Record<string, string>>): string {
    return form.replaceAll(/\{(\w+)\}/g, (_, name: string) => slots[name] ?? "");
}

/** qa4: the directions between places. Two places are joined by one sentence at most. */
function tellMap(data: StoryData, { places }: Cast, sizes: StorySizes, draw: Draw): Story {
    const ways = Object.keys(data.ways);
    const sentences: string[] = [];
    const questions: StoryQuestion[] = [];
    /** Sides that are taken, seen from both places. */
    const sides = new Set<string>();
    // places that sentences join, so that no sentence contradicts what others imply
    const joined = new Map(places.map((place) => [place, new Set([place])]));
    const pairs = places.flatMap((a) => places.map((b) => [a, b] as const));
    const wanted = Math.min(draw.integer(...sizes.sentences), places.length - 1);
    for (const [a, b] of draw.shuffle(pairs)) {
        if (sentences.length === wanted) break;
        const way = draw.from(ways);
        const back = data.ways[way]!;
        if (joined.get(a)!.has(b) || sides.has(`${way} of ${b}`) || sides.has(`${back} of ${a}`)) continue;
        sides.add(`${way} of ${b}`).add(`${back} of ${a}`);
        const both = new Set([...joined.get(a)!, ...joined.get(b)!]);
        for (const place of both) joined.set(place, both);
        const evidence = sentences.push(fill(draw.from(data.sentences.map), { a, b, way })) - 1;
        questions.push(
            { question: `What is ${way} of the ${b}?`, answer: a, evidence },
            { question: `What is the ${a} ${way} of?`, answer: b, evidence }
        );
    }
    return { sentences, questions };
}

/** The places where a thing was, each with the sentence that put it there. */
type Trail = { place: string; sentence: number }[];

/** qa1, qa2, qa3 and qa5: people move, take, drop and give. */
function tellMoves(data: StoryData, task: StoryTask, cast: Cast, sizes: StorySizes, draw: Draw): Story {
    const { people, places, things } = cast;
    const sentences: string[] = [];
    const at = new Map<string, { place: string; sentence: number }>();
    const visited = new Map(people.map((person) => [person, new Set<string>()]));
    const carrier = new Map<string, string>();
    const lies = new Map<string, string>();
    const trails = new Map<string, Trail>();
    let gifts: { from: string; thing: string; to: string; sentence: number }[] = [];
    const say = (forms: readonly string[], slots: Record<string, string>) =>
        sentences.push(fill(draw.from(forms), slots)) - 1;
    /** Where a thing is now. */
    const put = (thing: string, place: string, sentence: number) => {
        const trail = trails.get(thing) ?? [];
        if (trail.at(-1)?.place !== place) trail.push({ place, sentence });
        trails.set(thing, trail);
    };
    const move = (p: string) => {
        const here = at.get(p)?.place;
        const place = draw.from(places.filter((one) => one !== here));
        const known = visited.get(p)!;
        const forms = data.sentences.move.filter((form) => known.has(place) || !form.includes("went back"));
        const sentence = say(forms, { p, l: place });
        known.add(place);
        at.set(p, { place, sentence });
        for (const [thing, who] of carrier) if (who === p) put(thing, place, sentence);
    };
    const wanted = draw.integer(...sizes.sentences);
    while (sentences.length < wanted) {
        const p = draw.from(people);
        const here = at.get(p)?.place;
        const roll = draw.next();
        const mine = things.filter((thing) => carrier.get(thing) === p);
        const free = things.filter((thing) => !carrier.has(thing) && (lies.get(thing) ?? here) === here);
        if (here === undefined || roll < 0.45) move(p);
        else if (task === "qa5" && mine.length > 0 && roll < 0.8) {
            const thing = draw.from(mine);
            const to = draw.from(people.filter((person) => person !== p));
            const sentence = say(data.sentences.give, { p, o: thing, q: to });
            carrier.set(thing, to);
            gifts = [...gifts.filter((gift) => gift.thing !== thing), { from: p, thing, to, sentence }];
        } else if (mine.length > 0 && roll < 0.6) {
            const thing = draw.from(mine);
            say(data.sentences.drop, { p, o: thing });
            carrier.delete(thing);
            lies.set(thing, here);
        } else if (free.length > 0) {
            const thing = draw.from(free);
            put(thing, here, say(data.sentences.take, { p, o: thing }));
            carrier.set(thing, p);
        } else move(p);
    }
    const questions: Record<Exclude<StoryTask, "qa4">, () => StoryQuestion[]> = {
        qa1: () =>
            [...at].map(([p, { place, sentence }]) => ({
                question: `Where is ${p}?`,
                answer: place,
                evidence: sentence
            })),
        qa2: () =>
            [...trails].map(([thing, trail]) => {
                const { place, sentence } = trail.at(-1)!;
                return { question: `Where is the ${thing}?`, answer: place, evidence: sentence };
            }),
        qa3: () =>
            [...trails].flatMap(([thing, trail]) => {
                const last = trail.at(-1)!;
                const before = trail.at(-2);
                if (before === undefined) return [];
                const question = `Where was the ${thing} before the ${last.place}?`;
                return [{ question, answer: before.place, evidence: last.sentence }];
            }),
        qa5: () => gifts.flatMap((gift) => askGift(gift, gifts))
    };
    return { sentences, questions: questions[task as Exclude<StoryTask, "qa4">]() };
}

interface Gift {
    readonly from: string;
    readonly thing: string;
    readonly to: string;
    readonly sentence: number;
}

function askGift({ from, thing, to, sentence: evidence }: Gift, gifts: readonly Gift[]): StoryQuestion[] {
    const isOnly = gifts.filter((gift) => gift.from === from && gift.to === to).length === 1;
    return [
        { question: `Who gave the ${thing} to ${to}?`, answer: from, evidence },
        { question: `Who received the ${thing}?`, answer: to, evidence },
        ...(isOnly ? [{ question: `What did ${from} give to ${to}?`, answer: thing, evidence }] : [])
    ];
}
