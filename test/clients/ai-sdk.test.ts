import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, generateText, type LanguageModel, Output, stepCountIs, streamText, tool } from "ai";
import test from "ava";
import { z } from "zod";
import { answerText, shareServer } from "../helpers/assistant.js";

const server = shareServer();
const prompt = "Where is the lamp?";

/** The default of @ai-sdk/openai (responses), its chats, and @ai-sdk/openai-compatible. */
function models(): LanguageModel[] {
    const baseURL = `${server().url}/v1`;
    const openai = createOpenAI({ baseURL, apiKey: "unused" });
    const compatible = createOpenAICompatible({ name: "armt", baseURL, supportsStructuredOutputs: true });
    return [openai("tiny"), openai.chat("tiny"), compatible("tiny")];
}

const tools = {
    find: tool({
        description: "Looks into a place.",
        inputSchema: z.object({ where: z.enum(["box", "shelf"]) }),
        execute: () => "a lamp"
    })
};

test("chat", async (t) => {
    for (const model of models()) {
        const { text, finishReason, usage } = await generateText({
            model,
            prompt,
            system: "Be short.",
            temperature: 0,
            maxRetries: 0
        });
        t.is(text, answerText);
        t.is(finishReason, "stop");
        t.true(usage.inputTokens! > 0 && usage.outputTokens! > 0);
    }
});

test("stream", async (t) => {
    for (const model of models()) {
        const { textStream } = streamText({ model, prompt, temperature: 0, maxRetries: 0 });
        let text = "";
        for await (const part of textStream) text += part;
        t.is(text, answerText);
    }
});

test("tools", async (t) => {
    for (const model of models()) {
        const options = { model, prompt, tools, stopWhen: stepCountIs(3), temperature: 0, maxRetries: 0 };
        const { text, steps } = await generateText(options);
        t.is(text, answerText);
        t.deepEqual(
            steps.map(({ toolCalls }) => toolCalls.map(({ input }) => input)),
            [[{ where: "box" }], []]
        );
        const streamed = streamText(options);
        t.is((await streamed.steps).length, 2);
        t.is(await streamed.text, answerText);
    }
});

test("schema", async (t) => {
    const schema = z.object({ place: z.enum(["box", "shelf"]), count: z.int().min(1).max(9) });
    for (const model of models()) {
        const { output } = await generateText({
            model,
            prompt,
            output: Output.object({ schema }),
            temperature: 0,
            maxRetries: 0
        });
        t.true(schema.safeParse(output).success);
    }
});

test("errors", async (t) => {
    const schema = z.object({
        place: z.string().regex(/(a)\1/)
    });
    for (const model of models()) {
        const error = await t.throwsAsync(
            generateText({ model, prompt, output: Output.object({ schema }), maxRetries: 0 }),
            { instanceOf: APICallError }
        );
        t.regex(error!.message, /pattern/);
    }
});
