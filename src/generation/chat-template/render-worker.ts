import { parentPort, workerData } from "node:worker_threads";
import type { Template } from "@huggingface/jinja";
import type { Token } from "../../../plugin/index.js";
import { Markers, type Stretch, type Strips } from "./Markers.js";
import { parseTemplate, TemplateSyntaxError } from "./parse-template.js";
import { renderTemplate } from "./python/render-template.js";
import { type ChatToRender, MarkedNamesError, renderChat } from "./render-chat.js";

/** The special tokens of a vocabulary. */
export interface WorkerFacts {
    readonly tokens: readonly { readonly name: string; readonly token: Token; readonly strips: Strips }[];
}

/** A template with its variables, or with a chat. */
export type RenderRequest = { readonly template: string } & (
    | { readonly variables: Readonly<Record<string, unknown>> }
    | { readonly chat: ChatToRender }
);

export type RenderAnswer =
    | { readonly text: string; readonly stretches: readonly Stretch[] }
    | { readonly error: string; readonly cause: "marked" | "syntax" | "template" };

const { tokens } = workerData as WorkerFacts;
const strips = new Map(tokens.map((each) => [each.token, each.strips]));
const markers = new Markers(new Map(tokens.map(({ name, token }) => [name, token])), (token) => strips.get(token)!);
const parsed = new Map<string, Template>();

function answer(request: RenderRequest): RenderAnswer {
    const render = (variables: Readonly<Record<string, unknown>>) => {
        let known = parsed.get(request.template);
        if (known === undefined) {
            // like transformers, the library sets `trim_blocks` and `lstrip_blocks`; Jinja itself joins line breaks
            known = parseTemplate(request.template.replace(/\r\n?/g, "\n"));
            parsed.set(request.template, known);
        }
        return renderTemplate(known, variables);
    };
    try {
        if ("variables" in request) return { text: render(request.variables), stretches: [] };
        return { text: "", stretches: renderChat(render, request.chat, markers) };
    } catch (error) {
        const isMarked = error instanceof MarkedNamesError;
        const cause = isMarked ? "marked" : error instanceof TemplateSyntaxError ? "syntax" : "template";
        return { error: error instanceof Error ? error.message : String(error), cause };
    }
}

parentPort!.on("message", (request: RenderRequest) => {
    parentPort!.postMessage(answer(request));
});
parentPort!.postMessage("ready");
