import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import test from "ava";
import { z } from "zod";
import { answerText, shareServer } from "../helpers/assistant.js";

const server = shareServer();
const question = "Where is the lamp?";

/** Chats and responses. */
function models(options: { temperature?: number } = {}): ChatOpenAI[] {
    return [false, true].map(
        (useResponsesApi) =>
            new ChatOpenAI({
                model: "tiny",
                temperature: 0,
                apiKey: "unused",
                maxRetries: 0,
                useResponsesApi,
                configuration: { baseURL: `${server().url}/v1` },
                ...options
            })
    );
}

const find = tool(() => "a lamp", {
    name: "find",
    description: "Looks into a place.",
    schema: z.object({ where: z.enum(["box", "shelf"]) })
});

test("chat", async (t) => {
    for (const model of models()) {
        const answer = await model.invoke([["system", "Be short."], new HumanMessage(question)]);
        t.is(answer.text, answerText);
        t.true(answer.usage_metadata!.input_tokens > 0);
    }
});

test("stream", async (t) => {
    for (const model of models()) {
        let text = "";
        for await (const chunk of await model.stream(question)) text += chunk.text;
        t.is(text, answerText);
    }
});

test("tools", async (t) => {
    for (const model of models()) {
        const bound = model.bindTools([find]);
        const called = await bound.invoke(question);
        const [call] = called.tool_calls!;
        t.deepEqual([call!.name, call!.args], ["find", { where: "box" }]);
        const result = new ToolMessage({ tool_call_id: call!.id!, content: "a lamp" });
        t.is((await bound.invoke([new HumanMessage(question), called, result])).text, answerText);
    }
});

test("schema", async (t) => {
    const schema = z.object({ place: z.enum(["box", "shelf"]), count: z.int().min(1).max(9) });
    for (const model of models()) {
        const found = await model.withStructuredOutput(schema, { method: "jsonSchema" }).invoke(question);
        t.true(schema.safeParse(found).success);
    }
});

test("errors", async (t) => {
    for (const model of models({ temperature: 9 }))
        await t.throwsAsync(model.invoke(question), { message: /temperature/ });
});
