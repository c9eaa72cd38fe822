/** Something in a text that a native speaker would not write. */
export type Fault = {
    /** Line of the text, from 1. */
    readonly line: number;
    readonly found: string;
    /** What to write, or what to do. */
    readonly advice: string;
};

/** Words in the longest sentence that a reader still takes in at once. */
export const maxSentenceWords = 40;

/** Phrases that read like a translation, with what an American or British engineer writes. */
const phrases: readonly (readonly [phrase: RegExp, advice: string])[] = [
    [/held against|holds? (\w+ )?against|hold it against/, "compare with, check against"],
    [/(is|are|be|being|get|gets) told (?!apart)/, "is reported, must be given; or say who reports it"],
    [/(a|an|any|no) \w+ that there (is|are) not?|those that there are|that there is not/, "unknown, missing"],
    [/(is|are|be|was|were) warned of/, "logs a warning about"],
    [/(start|starts|begin|begins|started) anew|anew/, "starts over, again"],
    [/who removes|who (asks|wants|looks|writes|reads) /, "if you …, a caller that …"],
    [/who(so)?ever/, "anyone who, the caller, if you"],
    [/in the(ir)? place of|in its place|in their place|in place of/, "instead of, replaces"],
    [/in vain/, "wasted, for nothing"],
    [/a matter of (?!course|time)/, "depends on"],
    [
        /(all|none|nothing|that|anything|everything|,) but for|but for (?=(the|a|an|its|their|what|that|one)\b)/,
        "except for"
    ],
    [/\bbeside\b/, "next to, along with, compared with"],
    [/\bbehind (it|its|them|each|that|those)\b/, "after, at the end of"],
    [/\b(goes|go|went) on (from|with|where|without|at|in|until)\b|\bgoes on\b/, "continues, resumes"],
    [/to the last bit/, "bit for bit"],
    [/foresee\w*|foreseen/, "predict, predicted"],
    [/(is|are|be|was|were) looked at/, "is checked, is read"],
    [/passed over/, "skipped"],
    [/\bread off\b/, "inferred from, taken from"],
    [/\ban own\b/, "its own, a separate"],
    [/(?<!take |takes |taking |their )\bin turns\b/, "in rotation, alternately"],
    [/\bgoes away\b/, "disconnects, disappears"],
    [/without end\b/, "indefinitely"],
    [/\b(is|are|was|were) left of\b/, "what remains of, the rest"],
    [/\bmade up for\b/, "recovered"],
    [/\bshall\b/, "must, should, will"],
    [/\b(some|any|no)body\b/, "someone, anyone, no one; or say who"],
    [/\bfrom before\b/, "earlier, previous"],
    [/\blet (be|alone be)\b/, "leave alone"],
    [
        /\b(so|such) as (it|they|he|she) (is|are|was|were)\b|\bas (it|they) (is|are|was|were)\b(?=[.,;:)]|$| and\b)/,
        "unchanged, as is"
    ],
    [/\bthere (is|are) left\b/, "remains"],
    [/\bby itself\b(?! is)/, "automatically, on its own, alone"],
    [/\bby themselves\b/, "automatically, on their own"],
    [/\bof (its|their|your|our|my|his) own\b(?! choosing| accord)/, "its own …, a separate …"],
    [/\bof (yours|ours)\b/, "your …, our …"],
    [/\bthe like\b/, "and so on, similar"],
    [/\bas long as it is\b/, "while"],
    [/\bnot (any ?more|anymore)\b|\bany ?more\b(?=[.,;:)])/, "no longer"],
    [/\b(have|has|had) to be told\b/, "must be given"],
    [/\bthan (it|they|one) (had|was|were) (told|asked)\b/, "than requested"],
    [/\b(is|are|was|were|be) asked for\b/, "requested"],
    [/\bin front of\b/, "before"],
    [/\bsays? (which|what) is (gone|missing)\b/, "names the missing …"],
    [
        /\bwhat (is|was|are|were) (left|asked|wanted|told|held|in it|there)\b/,
        "name the thing: the rest, the requested size, the stored tokens, …"
    ],
    [/\bso far as\b/, "as far as"],
    [/\b(that|who|which) (one|you|it|they) ha(s|ve)\b(?=[.,;:])/, "your …, its …; drop the clause"],
    [/\bto nothing\b(?! else)/, "to none"],
    [/\bnothing tells\b|\bnothing says\b/, "nothing indicates"],
    [/\b(gives?|giving) back\b/, "returns, frees"],
    [/\bgive(s)? way\b/, "is evicted, is removed"],
    [/\bhas a say\b/, "affects"],
    [/\bis no (file|model|number|power|multiple|integer|text|folder|option|name)\b/, "is not a …"],
    [/\bare no (files|models|numbers|multiples|integers|options)\b/, "are not …"],
    [/\bdoes? without\b/, "omits, skips, works without"],
    [/\bof which (is|the|one|none|it)\b/, "split the sentence"],
    [/\b(lies|lie|lay) (in|there|beside|on)\b/, "is in, are in"],
    [/\b(wants?|needs?) telling\b/, "must be given"],
    [/\bas elsewhere\b/, "as usual; or name the place"],
    [/\bhence (?=\w)/, "so, therefore"],
    [
        /\bthereof\b|\btherein\b|\bthereby\b|\bthereupon\b|\bhereby\b|\bherewith\b|\bwherein\b|\bwhereof\b|\blest\b|\bupon\b/,
        "use a plain word"
    ],
    [/\bnought\b|\baught\b/, "zero, nothing"],
    [/\bsee to it\b/, "make sure"],
    [
        /\bwhere (there (is|are)|it (is|has|can|does|says|was)|they (are|have|can|do)|none|nothing|neither|one is|that (is|has))\b/,
        "if, when"
    ],
    [/\b(there|that) is none\b/, "it does not exist, it is missing, without one"],
    [/\bonce more\b/, "again"],
    [/\bstands? (in|at|behind|under|where)\b/, "is in, is at"],
    [/\bin one go\b/, "at once"]
];

/**
 * @param text plain text or source code; a phrase is also found where it runs over the end of a line
 * @returns phrases that read like a translation, doubled words and doubled spaces inside a line
 */
export function phraseFaults(text: string): Fault[] {
    const { joined, lineAt } = joinLines(text);
    const rules = [...phrases, [/\b(the|a|an|of|to|is|in|and|that|it) \1\b/, "a doubled word"] as const];
    return rules.flatMap(([phrase, advice]) =>
        [...joined.matchAll(new RegExp(phrase.source, "gi"))].map((match) => ({
            line: lineAt(match.index),
            found: match[0],
            advice
        }))
    );
}

/** @returns sentences of more than {@link maxSentenceWords} words in a text whose paragraphs are separated by empty lines */
export function sentenceFaults(text: string): Fault[] {
    const sentences = new Intl.Segmenter("en", { granularity: "sentence" });
    const words = new Intl.Segmenter("en", { granularity: "word" });
    const { joined, lineAt } = joinLines(text);
    return [...sentences.segment(joined)].flatMap(({ segment, index }) => {
        const count = [...words.segment(segment)].filter(({ isWordLike }) => isWordLike).length;
        const found = `${segment.trim().slice(0, 60)}…`;
        return count > maxSentenceWords
            ? [{ line: lineAt(index), found, advice: `${count} words: split the sentence` }]
            : [];
    });
}

/**
 * Joins the lines of a paragraph, without the marks that comments and quotations begin a line with. A heading, an item of a
 * list and a cell of a table are paragraphs.
 */
function joinLines(text: string): { joined: string; lineAt: (index: number) => number } {
    const starts: number[] = [];
    let joined = "";
    for (const line of text.split("\n")) {
        starts.push(joined.length);
        const bare = line.replace(/^\s*(\*(?![*/])|\/\/+|>)?\s*/, "").trimEnd();
        const apart = /^(#+ |[-*] |\d+\. |\||@)/.test(bare);
        joined +=
            bare === "" ? "\n" : `${apart ? "\n" : ""}${bare.replaceAll("|", "\n")}${/^#/.test(bare) ? "\n" : " "}`;
    }
    return { joined, lineAt: (index) => starts.findLastIndex((start) => start <= index) + 1 };
}
