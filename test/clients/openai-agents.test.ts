import { Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, tool } from "@openai/agents";
import test from "ava";
import { z } from "zod";
import { answerText, shareServer } from "../helpers/assistant.js";

const server = shareServer();
const input = "Where is the lamp?";
const runner = new Runner({ tracingDisabled: true });

/** The default of the package (responses), and chats. */
function agents<O extends Partial<ConstructorParameters<typeof Agent>[0]>>(options: O) {
    const { openai } = server();
    // the package brings its own copy of the client's types
    const client = openai as unknown as ConstructorParameters<typeof OpenAIResponsesModel>[0];
    return [new OpenAIResponsesModel(client, "tiny"), new OpenAIChatCompletionsModel(client, "tiny")].map(
        (model) => new Agent({ name: "finder", modelSettings: { temperature: 0 }, model, ...options })
    );
}

const find = tool({
    name: "find",
    description: "Looks into a place.",
    parameters: z.object({ where: z.enum(["box", "shelf"]) }),
    execute: () => "a lamp"
});

test("chat", async (t) => {
    for (const agent of agents({ instructions: "Be short." }))
        t.is((await runner.run(agent, input)).finalOutput, answerText);
});

test("stream", async (t) => {
    for (const agent of agents({})) {
        const streamed = await runner.run(agent, input, { stream: true });
        let text = "";
        for await (const piece of streamed.toTextStream()) text += piece;
        t.is(text, answerText);
        await streamed.completed;
        t.is(streamed.finalOutput, answerText);
    }
});

test("tools", async (t) => {
    for (const agent of agents({ tools: [find] })) {
        const { finalOutput, newItems } = await runner.run(agent, input);
        t.is(finalOutput, answerText);
        t.deepEqual(
            newItems.map(({ type }) => type),
            ["tool_call_item", "tool_call_output_item", "message_output_item"]
        );
    }
});

test("schema", async (t) => {
    const outputType = z.object({ place: z.enum(["box", "shelf"]), count: z.int().min(1).max(9) });
    for (const agent of agents({ outputType })) {
        const { finalOutput } = await runner.run(agent, input);
        t.true(outputType.safeParse(finalOutput).success);
    }
});

test("errors", async (t) => {
    for (const agent of agents({ modelSettings: { temperature: 9 } }))
        await t.throwsAsync(runner.run(agent, input), { message: /temperature/ });
});
