/** Whether a text names something, as whole words, case apart. */
export function names(text: string, what: string): boolean {
    return new RegExp(`(?<![\\p{L}\\p{N}])${escapePattern(what)}(?![\\p{L}\\p{N}])`, "iu").test(text);
}

/** Whether an answer's first sentence names one of the right answers. */
export function namesAny(answer: string, right: readonly string[]): boolean {
    const sentence = firstSentence(answer);
    return right.some((text) => names(sentence, text));
}

/** Whether an answer's first sentence names the right answer and no other, except those in the question. */
export function namesOnly(answer: string, right: string, question: string, all: readonly string[]): boolean {
    const sentence = firstSentence(answer);
    return names(sentence, right) && all.every((one) => one === right || names(question, one) || !names(sentence, one));
}

function firstSentence(answer: string): string {
    return answer.trim().split(/[.?!](?=\s|$)|\n/)[0]!;
}

/** Node 20 has no RegExp.escape. */
function escapePattern(text: string): string {
    return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
