import { readFile } from "node:fs/promises";
import { evalFolder } from "../../util/assets.js";

/** Reads a task's data from the package: `assets/eval/<name>.json`. */
export async function readTaskData<T>(name: string): Promise<T> {
    return JSON.parse(await readFile(new URL(`${name}.json`, evalFolder), "utf8"));
}
