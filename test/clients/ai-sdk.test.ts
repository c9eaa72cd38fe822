import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
    APICallError,
    convertToModelMessages,
    createUIMessageStreamResponse,
    DefaultChatTransport,
    generateObject,
    generateText,
    type LanguageModel,
    Output,
    readUIMessageStream,
    stepCountIs,
    streamObject,
    streamText,
    tool,
    type UIMessage
} from "ai";
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

test("a memory is a provider option, streamed and with tools too", async (t) => {
    const baseURL = `${server().url}/v1`;
    const uploaded = await fetch(`${baseURL}/armt/memories`, {
        method: "POST",
        headers: { "Content-Type": "text/plain" },
        body: "The lamp stood in the box. ".repeat(20)
    });
    const { id, tokens } = (await uploaded.json()) as { id: string; tokens: number };
    const compatible = createOpenAICompatible({ name: "armt", baseURL, includeUsage: true });
    const about = {
        model: compatible("tiny"),
        prompt,
        temperature: 0,
        maxRetries: 0,
        providerOptions: { armt: { armt: { memory: id } } }
    };
    const { text, usage } = await generateText(about);
    t.is(text, answerText);
    t.is(usage.cachedInputTokens, tokens);
    const streamed = streamText(about);
    t.is(await streamed.text, answerText);
    t.is((await streamed.usage).cachedInputTokens, tokens);
    const called = await generateText({ ...about, tools, stopWhen: stepCountIs(3) });
    t.is(called.text, answerText);
    const missing = { ...about, providerOptions: { armt: { armt: { memory: "mem_none" } } } };
    await t.throwsAsync(generateText(missing), { instanceOf: APICallError, message: /no memory/ });
});

test("stream", async (t) => {
    for (const model of models()) {
        const { textStream } = streamText({ model, prompt, temperature: 0, maxRetries: 0 });
        let text = "";
        for await (const part of textStream) text += part;
        t.is(text, answerText);
    }
});

test("a page's chat, whose messages go through a route and back", async (t) => {
    for (const model of models()) {
        // what a route of an application does with each request of its page
        const transport = new DefaultChatTransport<UIMessage>({
            fetch: async (_url, init) => {
                const { messages } = JSON.parse(String(init!.body)) as { messages: UIMessage[] };
                const streamed = streamText({
                    model,
                    messages: await convertToModelMessages(messages),
                    tools,
                    stopWhen: stepCountIs(3),
                    temperature: 0,
                    maxRetries: 0
                });
                const onError = (error: unknown) => String(error);
                return createUIMessageStreamResponse({ stream: streamed.toUIMessageStream({ onError }) });
            }
        });
        const chat: UIMessage[] = [];
        for (let turn = 0; turn < 2; turn++) {
            chat.push({ id: `question ${turn}`, role: "user", parts: [{ type: "text", text: prompt }] });
            const stream = await transport.sendMessages({
                chatId: "chat",
                messages: chat,
                trigger: "submit-message",
                messageId: undefined,
                abortSignal: undefined
            });
            let answer: UIMessage | undefined;
            for await (const message of readUIMessageStream({ stream, terminateOnError: true })) answer = message;
            t.deepEqual(
                answer!.parts.flatMap((part) => (part.type === "text" ? [part.text] : [])),
                [answerText]
            );
            t.like(
                answer!.parts.find(({ type }) => type === "tool-find"),
                { state: "output-available", input: { where: "box" }, output: "a lamp" }
            );
            chat.push(answer!);
        }
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
        const request = { model, prompt, schema, temperature: 0, maxRetries: 0 };
        const { object } = await generateObject(request);
        t.true(schema.safeParse(object).success);
        const streamed = streamObject(request);
        const partial: unknown[] = [];
        for await (const part of streamed.partialObjectStream) partial.push(part);
        t.true(schema.safeParse(await streamed.object).success);
        t.deepEqual(partial.at(-1), await streamed.object);
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
