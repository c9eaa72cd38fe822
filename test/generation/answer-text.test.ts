import test from "ava";
import fc from "fast-check";
import type { Token } from "../../plugin/index.js";
import { AnswerText, type TokenText } from "../../src/generation/AnswerText.js";
import { propertySeed } from "../helpers/property.js";
import { cutAt, fakeVocabulary } from "../helpers/vocabulary.js";

/** Reads tokens to their end or to a stop string. */
function read(answer: AnswerText, tokens: readonly Token[]) {
    const shown: TokenText[] = [];
    let text = "";
    for (const [i, token] of tokens.entries()) {
        const piece = answer.push(token);
        text += piece.text;
        shown.push(...piece.tokens);
        if (piece.stopped !== undefined) return { text, shown, stopped: piece.stopped, read: i + 1 };
    }
    const last = answer.end();
    return { text: text + last.text, shown: [...shown, ...last.tokens], stopped: undefined, read: tokens.length };
}

const joined = (shown: readonly TokenText[]) => Buffer.concat(shown.map(({ bytes }) => bytes));

test("an answer ends at its first stop string, and its tokens' texts and bytes are its own", (t) => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "é", "🦙"), maxLength: 12 });
    const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "é", "🦙"), minLength: 1, maxLength: 3 }), {
        maxLength: 3
    });
    fc.assert(
        fc.property(letters, stops, fc.array(fc.nat()), (text, stop, places) => {
            const pieces = cutAt(Buffer.from(text), places);
            const { source, piece } = fakeVocabulary(pieces);
            const places_ = stop.map((string) => text.indexOf(string)).filter((at) => at >= 0);
            // a stop string is complete at a token's end: of two that begin before it, the first one counts
            const ends = stop.flatMap((string) =>
                text.includes(string) ? [text.indexOf(string) + string.length] : []
            );
            const tokens = pieces.map((_, i) => piece(i));
            const result = read(new AnswerText(source, { stop }), tokens);
            const expected = places_.length === 0 ? text : text.slice(0, Math.min(...places_));
            const isSafe = ends.length < 2 || ends.every((end) => end >= Math.min(...ends));
            return (
                isSafe &&
                (places_.length === 0) === (result.stopped === undefined) &&
                (result.text === expected || ends.length > 1) &&
                text.startsWith(result.text) &&
                joined(result.shown).equals(Buffer.from(result.text)) &&
                result.shown.map((token) => token.text).join("") === result.text
            );
        }),
        { seed: propertySeed, numRuns: 500 }
    );
    t.pass();
});

test("nothing that may become a stop string is shown, and what does not become one is not lost", (t) => {
    const { source } = fakeVocabulary();
    const answer = new AnswerText(source, { stop: ["\n\nUser:"] });
    const texts = [...Buffer.from("Hi\n\nUsers")].map((byte) => answer.push(byte as Token).text);
    t.deepEqual(texts, ["H", "i", "", "", "", "", "", "", "\n\nUsers"]);
});

test("a stop string that names a special token ends at that token, alone and with text around it", (t) => {
    const { source, special } = fakeVocabulary([], ["<|end|>", "<|user|>"]);
    const text = (words: string) => [...Buffer.from(words)].map((byte) => byte as Token);
    const tokens = [...text("Yes."), special(1), ...text("\nNo")];
    t.is(read(new AnswerText(source), tokens).text, "Yes.\nNo");
    for (const stop of ["<|user|>", ".<|user|>", "<|user|>\nN"]) {
        const { text: shown, stopped } = read(new AnswerText(source, { stop: ["nothing", stop] }), tokens);
        t.is(shown, stop.startsWith(".") ? "Yes" : "Yes.");
        t.is(stopped?.string, stop);
    }
    // its name is not written, so a part of it does not end anything
    t.is(read(new AnswerText(source, { stop: ["user"] }), tokens).text, "Yes.\nNo");
    t.is(read(new AnswerText(source, { stop: ["<|end|>"] }), tokens).text, "Yes.\nNo");
    // the name as ordinary text is what the stop string says, too
    t.is(read(new AnswerText(source, { stop: ["<|user|>"] }), text("a<|user|>b")).text, "a");
});

test("an unfinished character at the end is part of the last token", (t) => {
    const { source } = fakeVocabulary();
    const { text, shown } = read(new AnswerText(source, { stop: ["zz"] }), [0x41 as Token, 0xf0 as Token]);
    t.is(text, "A\ufffd");
    t.deepEqual(joined(shown), Buffer.of(0x41, 0xf0));
});
