import { parentPort } from "node:worker_threads";
import { Template } from "@huggingface/jinja";

/** A template and its variables. */
export interface RenderRequest {
    readonly template: string;
    readonly variables: Readonly<Record<string, unknown>>;
}

export type RenderAnswer = { readonly text: string } | { readonly error: string };

const parsed = new Map<string, Template>();

/** Like transformers, the library sets `trim_blocks` and `lstrip_blocks`. */
function render({ template, variables }: RenderRequest): RenderAnswer {
    try {
        let known = parsed.get(template);
        if (known === undefined) {
            known = new Template(template);
            parsed.set(template, known);
        }
        return { text: known.render({ ...variables }) };
    } catch (error) {
        return { error: error instanceof Error ? error.message : String(error) };
    }
}

parentPort!.on("message", (request: RenderRequest) => {
    parentPort!.postMessage(render(request));
});
parentPort!.postMessage("ready");
