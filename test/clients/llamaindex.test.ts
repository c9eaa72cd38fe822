import { OpenAI, OpenAIResponses } from "@llamaindex/openai";
import test from "ava";
import { z } from "zod";
import { answerText, findParameters, shareServer } from "../helpers/assistant.js";

const server = shareServer();
const messages = [{ role: "user" as const, content: "Where is the lamp?" }];

/** Chats and responses, whose methods differ in the types of their options only. */
function models(model = "tiny"): OpenAI[] {
    const all = { model, temperature: 0, apiKey: "unused", maxRetries: 0, baseURL: `${server().url}/v1` };
    return [new OpenAI(all), new OpenAIResponses(all) as unknown as OpenAI];
}

const find = {
    metadata: { name: "find", description: "Looks into a place.", parameters: findParameters },
    call: () => "a lamp"
};

test("chat", async (t) => {
    for (const model of models()) t.is((await model.chat({ messages })).message.content, answerText);
});

test("stream", async (t) => {
    for (const model of models()) {
        let text = "";
        for await (const { delta } of await model.chat({ messages, stream: true })) text += delta;
        // the client's responses repeat the last piece with each later event
        t.true(text.startsWith(answerText), text);
    }
});

test("tools", async (t) => {
    for (const model of models()) {
        const { newMessages, toolCalls } = await model.exec({ messages, tools: [find as never] });
        t.deepEqual(
            toolCalls.map(({ name }) => name),
            ["find"]
        );
        const { newMessages: after } = await model.exec({ messages: [...messages, ...newMessages], tools: [] });
        t.is(after.at(-1)!.content, answerText);
    }
});

test("schema", async (t) => {
    const schema = z.object({ place: z.enum(["box", "shelf"]), count: z.int().min(1).max(9) });
    const format = { type: "json_schema" as const, json_schema: { name: "a", schema: z.toJSONSchema(schema) } };
    const [chat, responses] = models();
    const { message } = await chat!.chat({ messages, responseFormat: format });
    t.true(schema.safeParse(JSON.parse(String(message.content))).success);
    // the client has no option of its own for the format of a response
    const text = { format: { type: "json_schema", name: "a", schema: z.toJSONSchema(schema) } };
    const answer = await responses!.chat({ messages, additionalChatOptions: { text } as object });
    t.true(schema.safeParse(JSON.parse(String(answer.message.content))).success);
});

test("errors", async (t) => {
    for (const model of models("other")) await t.throwsAsync(model.chat({ messages }), { message: /no model/ });
});
