/** The folder of the recall task: its model, words and prose. */
export const recallFolder = new URL("../../../assets/recall/", import.meta.url);
