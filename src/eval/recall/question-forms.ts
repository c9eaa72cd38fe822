import type { QuestionForms } from "../../util/question-forms.js";
import { readRecallTask } from "./task.js";

/** What the included model can be asked. */
export async function recallQuestionForms(): Promise<QuestionForms> {
    const { kinds } = await readRecallTask();
    return kinds.map(({ questions }) =>
        [...questions.train, ...questions.heldOut].map((form) => form.replace("{key}", "{}"))
    );
}
