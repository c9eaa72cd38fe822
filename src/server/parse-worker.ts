import { parentPort } from "node:worker_threads";
import { type ParsedJson, parseJson } from "./parse-json.js";

export interface ParseRequest {
    readonly pieces: readonly Uint8Array[];
    readonly hasLongNumber: boolean;
}

export type ParseAnswer = ParsedJson | { readonly error: string; readonly isSyntax: boolean };

function answer({ pieces, hasLongNumber }: ParseRequest): ParseAnswer {
    try {
        return parseJson(Buffer.concat(pieces), hasLongNumber);
    } catch (error) {
        return { error: error instanceof Error ? error.message : "", isSyntax: error instanceof SyntaxError };
    }
}

parentPort!.on("message", (request: ParseRequest) => {
    parentPort!.postMessage(answer(request));
});
parentPort!.postMessage("ready");
