import test from "ava";
import type OpenAI from "openai";
import type { chatChunkSchema, chatResponseSchema } from "../../src/server/schemas/chat.js";
import type { completionResponseSchema } from "../../src/server/schemas/completions.js";
import type { ResponseBody } from "../../src/server/schemas/responses.js";
import type { z } from "../../src/server/schemas/zod.js";
import { post, send, startServer } from "../helpers/server.js";

/** Does not compile unless `Ours` can stand wherever OpenAI's published type is expected. */
type Is<Theirs, _Ours extends Theirs> = true;

type Chat = z.infer<typeof chatResponseSchema>;
type Chunk = z.infer<typeof chatChunkSchema>;
type Completion = z.infer<typeof completionResponseSchema>;
type Choice = Completion["choices"][number];

/** An echoed prompt has null at its first token, which OpenAI's published type leaves out. */
type Predicted<T> = { [K in keyof T]: T[K] extends (infer Item)[] ? NonNullable<Item>[] : T[K] };

// the client's types are generated from OpenAI's published schema
const shapes: [
    Is<OpenAI.ChatCompletion, Chat>,
    Is<OpenAI.ChatCompletionChunk, Chunk>,
    Is<Pick<OpenAI.Completion, "id" | "object" | "created" | "model" | "system_fingerprint">, Completion>,
    Is<Omit<OpenAI.CompletionChoice, "finish_reason" | "logprobs">, Choice>,
    Is<OpenAI.CompletionChoice.Logprobs, Predicted<NonNullable<Choice["logprobs"]>>>,
    Is<OpenAI.CompletionUsage, Chat["usage"]>,
    Is<Omit<OpenAI.Responses.Response, "output" | "output_text" | "text" | "usage">, ResponseBody>,
    Is<OpenAI.Responses.ResponseOutputMessage["status"], ResponseBody["output"][number]["status"]>
] = [true, true, true, true, true, true, true, true];

test("answers have the types that OpenAI's client is generated with", (t) => {
    t.true(shapes.every(Boolean));
});

test("the description names every route and says what the validation says", async (t) => {
    const { url } = await startServer(t);
    const { text, status } = await send(`${url}/openapi.json`, { method: "GET" });
    t.is(status, 200);
    const description = JSON.parse(text);
    t.is(description.openapi, "3.1.0");
    for (const [path, methods] of Object.entries<Record<string, object>>(description.paths))
        for (const method of Object.keys(methods)) {
            // a stream without an end of its own
            if (path.startsWith("/v1/armt/progress")) continue;
            const answer = await send(url + path.replace(/\{\w+\}/, "none"), { method: method.toUpperCase() });
            // a route that is not there would say so
            t.not(answer.headers["content-type"]?.includes("json") && answer.json().error?.code, "unknown_url", path);
        }
    const { properties, additionalProperties } = description.components.schemas.ChatCompletionRequest;
    t.false(additionalProperties);
    const unknown = await post(`${url}/v1/chat/completions`, {
        messages: [{ role: "user", content: "x" }],
        mystery: 1
    });
    t.is(unknown.status, 400);
    t.is(unknown.json().error!.param, "mystery");
    t.is(properties.mystery, undefined);
    t.is(properties.temperature.maximum ?? properties.temperature.anyOf?.[0]?.maximum, 2);
});
