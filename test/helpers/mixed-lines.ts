/** Fragments of the kinds of text on which tokenizers differ. */
const fragments = [
    "Hello",
    " world",
    "The quick brown fox doesn't jump; it'll REST.",
    "I'M sure they'Ve 'LL",
    "naïve café",
    "cafe\u0301 nai\u0308ve",
    "Tie\u0302\u0301ng Vie\u0323\u0302t",
    "Tiếng Việt",
    "\u1112\u1161\u11ab\u1100\u116e\u11a8",
    "한국어 텍스트",
    "漢字とカタカナ、ひらがな。",
    "简体中文，测试！",
    "Привет, мир",
    "ÀÉÎ straße ŒUVRE éA Éa",
    "مرحبا بالعالم",
    "हिन्दी में",
    "ภาษาไทย",
    "👋🏽👨‍👩‍👧‍👦🏳️‍🌈",
    "🙂🙂",
    "❤️",
    "12345 6.78 1,000,000",
    "٣٤٥ ²³ ½ Ⅷ",
    "  ",
    "   ",
    "\t",
    "\t\t",
    "\n",
    "\n\n",
    "\r\n",
    " \n ",
    "\u00a0",
    "\u3000",
    "\u200b",
    "for (let i = 0; i < n; ++i) {",
    "    return a[i] !== b?.c ? `x$ {y}` : null;",
    "def f(x: int) -> str:",
    "#include <vector>",
    "https://example.org/a?b=c&d=%20#e",
    '<div class="x">&amp;</div>',
    "// TODO: fix //",
    "$$\\frac{a}{b} \\leq \\infty$$",
    "\\n\\t",
    "--- *** === ...",
    "\"quoted\" 'single' ``code``",
    "_snake_case_ camelCase HTTPServer",
    "▁",
    "\ufb01 \uff21\uff22",
    "Z\u0351\u036b\u0343a\u0327\u0328lgo",
    "\u212b \u2126"
];

/** The same lines each time, made of everything that `fragments` has. */
export function mixedLines(count: number): string[] {
    let state = 1;
    const below = (limit: number) => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return Math.floor((state / 2 ** 32) * limit);
    };
    return Array.from({ length: count }, () => {
        const parts = Array.from({ length: 1 + below(8) }, () => fragments[below(fragments.length)]!);
        return parts.join(below(2) === 0 ? " " : "");
    });
}
