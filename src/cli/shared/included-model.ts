import path from "node:path";
import { recallQuestionForms } from "../../eval/recall/question-forms.js";
import { recallModelPath } from "../../model/embedded-model.js";
import { exampleQuestions, hasForm, type QuestionForms } from "../../util/question-forms.js";

/** What the included model can be asked; undefined for another model. */
export async function questionFormsOf(modelFile: string): Promise<QuestionForms | undefined> {
    return path.resolve(modelFile) === recallModelPath ? await recallQuestionForms() : undefined;
}

/** What to know before asking the included model. */
export function describeForms(forms: QuestionForms): string {
    return `It knows no questions but these: ${exampleQuestions(forms)}`;
}

/** Says why the answer to a question means nothing, if it does. */
export function noteOnQuestion(question: string, forms: QuestionForms | undefined): string | undefined {
    if (forms === undefined || hasForm(question, forms)) return undefined;
    return (
        "note: the included model was not trained for such a question, so its answer means nothing. " +
        `${describeForms(forms)}\n`
    );
}
