import { randomUUID } from "node:crypto";
import type { Response } from "express";
import { LosslessNumber } from "lossless-json";

/** Text of a JSON object within an answer, such as the arguments of a call: its numbers keep their digits. */
class JsonText {
    readonly text: string;

    constructor(json: string) {
        // an answer may be one line, and strings in JSON contain no line breaks
        this.text = json.replace(/[\n\r]/g, " ");
    }
}

/** Stands for texts until they are inserted; nobody can guess it. */
const mark = randomUUID();

/** An object of {@link writeJson} by its text. */
export function jsonText(json: string): Record<string, unknown> {
    return new JsonText(json) as unknown as Record<string, unknown>;
}

/** JSON in which each {@link jsonText}, and each number of a request, is as it was written. */
export function writeJson(value: unknown): string {
    const texts: string[] = [];
    const json = JSON.stringify(value, (_, item: unknown) => {
        const text = item instanceof JsonText ? item.text : item instanceof LosslessNumber ? item.value : undefined;
        return text === undefined ? item : `${mark} ${texts.push(text) - 1}`;
    });
    if (texts.length === 0) return json;
    return json.replace(new RegExp(`"${mark} (\\d+)"`, "g"), (_, index) => texts[Number(index)]!);
}

/** Answers with {@link writeJson}. */
export function sendJson(response: Response, value: object): void {
    response.type("application/json").send(writeJson(value));
}
