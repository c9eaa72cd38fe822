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
    // verbs in a sense that they don't have
    [/\bh(e|o)lds? (\w+ )?against\b/, "compare with, check against"],
    [/\b(is|are|be|being|gets?) told\b(?! apart)/, "is reported, must be given; or say who reports it"],
    [/\b(is|are|be|was|were) warned of\b/, "logs a warning about"],
    [/\b(goes|go|went) on (from|with|where|without|at|in|until)\b|\bgoes on\b/, "continues, resumes"],
    [/\bforesee\w*\b/, "predict, predicted"],
    [/\b(is|are|be|was|were) looked at\b/, "is checked, is read"],
    [/\bpassed over\b/, "skipped"],
    [/\bread off\b/, "inferred from, taken from"],
    [/\bgoes away\b/, "disconnects, disappears"],
    [/\bmade up for\b/, "recovered"],
    [/\b(gives?|giving) back\b/, "returns, frees"],
    [/\bgives? way\b/, "is evicted, is removed"],
    [/\bdoes? without\b/, "omits, skips, works without"],
    [/\b(lies|lie|lay) (in|there|beside|on)\b/, "is in, are in"],
    [/\bstands? (in|at|behind|under|where)\b(?! for)/, "is in, is at"],
    [/\b(is|are|was|were|be) asked for\b/, "requested"],
    [/\b(is|are|was|were) left of\b/, "what remains of, the rest"],
    [/\bthere (is|are) left\b/, "remains"],
    [/\bhas a say\b/, "affects"],
    [/\bsee to it\b/, "make sure"],
    [/\bshall\b/, "must, should, will"],

    // clauses
    [
        /\b(an?|any|no) \w+ that there (is|are) not?\b|\bthose that there are\b|\bthat there is not\b/,
        "unknown, missing"
    ],
    [/\bwho removes\b/, "if you …, a caller that …"],
    [/\bwho(so)?ever\b/, "anyone who, the caller, if you"],
    [
        /\bwhere (there (is|are)|it (has|can|does|says)|they (have|can|do)|none|nothing|neither|one is|that (is|has))\b/,
        "if, when"
    ],
    [
        /\bwhat (is|was|are|were) (left|asked|wanted|told|held|in it)\b/,
        "name the thing: the rest, the requested size, the stored tokens, …"
    ],
    [/\bsays? (which|what) is (gone|missing)\b/, "names the missing …"],
    [/\bof which (is|the|one|none|it)\b/, "split the sentence"],
    [/\bnothing (tells|says)\b/, "nothing indicates"],
    [/\bthan (it|they|one) (had|was|were) (told|asked)\b/, "than requested"],
    [/\bis no (file|model|number|power|multiple|integer|text|folder|option|name)\b/, "is not a …"],
    [/\bare no (files|models|numbers|multiples|integers|options)\b/, "are not …"],

    // small words
    [/\banew\b/, "starts over, again"],
    [/\bin the place of\b/, "instead of, replaces"],
    [/\bin vain\b/, "wasted, for nothing"],
    [/\ba matter of\b(?! course| time)/, "depends on"],
    [
        /\b(all|none|nothing|that|anything|everything|,) but for\b|\bbut for (?=(the|a|an|its|their|what|that|one)\b)/,
        "except for"
    ],
    [/\bbeside (?=\w)/, "next to, along with, compared with"],
    [/\bbehind (it|its|them|each|that|those)\b/, "after, at the end of"],
    [/\bto the last bit\b/, "bit for bit"],
    [/\ban own\b/, "its own, a separate"],
    [/(?<!\b(take|takes|taking|their) )\bin turns\b/, "in rotation, alternately"],
    [/\bwithout end\b/, "indefinitely"],
    [/\bby itself\b(?! is)/, "automatically, on its own, alone"],
    [/\bby themselves\b/, "automatically, on their own"],
    [/\bof (yours|ours)\b/, "your …, our …"],
    [/\bthe like\b/, "and so on, similar"],
    [/\bas long as it is\b/, "while"],
    [/\bany ?more\b(?=[.,;:)])/, "no longer"],
    [/\bso far as\b/, "as far as"],
    [/\bto nothing\b(?! else)/, "to none"],
    [/\bas elsewhere\b/, "as usual; or name the place"],
    [/\bonce more\b/, "again"],
    [/\bin one go\b/, "at once"],
    [/\bhence (?=\w)/, "so, therefore"],
    [/\b(there|where|here)(of|in|by|upon|with)\b|\blest\b|(?<!once )\bupon\b|\bnought\b|\baught\b/, "use a plain word"]
];

/** Words that are doubled only by mistake. */
const doubled = [/\b(the|a|an|of|to|is|in|and|it) \1\b/g, "a doubled word"] as const;

/**
 * @param text plain text or source code; a phrase is also found where it runs over the end of a line
 * @returns phrases that read like a translation, and doubled words
 */
export function phraseFaults(text: string): Fault[] {
    const { joined, lineAt } = joinLines(text);
    const rules = phrases.map(([phrase, advice]) => [new RegExp(phrase.source, "gi"), advice] as const);
    return [...rules, doubled].flatMap(([phrase, advice]) =>
        [...joined.matchAll(phrase)].map((match) => ({
            line: lineAt(match.index),
            found: match[0],
            advice
        }))
    );
}

/**
 * @returns sentences of more than {@link maxSentenceWords} words in a text whose paragraphs are separated by empty
 * lines
 */
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
 * Joins the lines of a paragraph, without the marks that comments and quotations begin a line with. A heading, an item
 * of a list and a cell of a table are paragraphs.
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
