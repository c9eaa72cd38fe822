/** The folder of the recall task: its model, its words and its prose. */
export const recallFolder = new URL("../../../assets/recall/", import.meta.url);
