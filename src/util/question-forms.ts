// The page loads this module too, so it imports nothing.

/** Forms of questions with `{}` for names and things: a list for each kind of question, the usual form first. */
export type QuestionForms = readonly (readonly string[])[];

/** Whether a question has one of the forms, with one to four words for `{}`. */
export function hasForm(question: string, forms: QuestionForms): boolean {
    const words = question.trim().replace(/\s+/g, " ").replace(/ ?\?$/, "");
    return forms.flat().some((form) => {
        const [before = "", after = ""] = form.replace(/\?$/, "").split("{}");
        const isAround = words.startsWith(before) && words.endsWith(after);
        const inside = words.slice(before.length, words.length - after.length);
        return isAround && /^\S+( \S+){0,3}$/.test(inside);
    });
}

/** The usual form of each kind, for people. */
export function exampleQuestions(forms: QuestionForms): string {
    return forms.map(([form = ""]) => form.replace("{}", "…")).join(" ");
}
