/** The folder of the recall task: its model, words and prose. */
export const recallFolder = new URL("../../../assets/recall/", import.meta.url);

/** The folder of the other tasks' data: needles, stories, natural facts, questions about books. */
export const evalFolder = new URL("../../../assets/eval/", import.meta.url);
