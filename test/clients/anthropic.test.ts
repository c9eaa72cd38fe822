import Anthropic from "@anthropic-ai/sdk";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import test from "ava";
import { z } from "zod";
import { messageResponseSchema } from "../../src/server/schemas/messages.js";
import { answerText, findParameters, shareServer } from "../helpers/assistant.js";

const server = shareServer();
const client = () => new Anthropic({ baseURL: server().url, apiKey: "unused", maxRetries: 0 });
const messages = [{ role: "user" as const, content: "Where is the lamp?" }];
const sampling = { model: "tiny", max_tokens: 60, temperature: 0 };
const tools = [
    {
        name: "find",
        description: "Looks into a place.",
        input_schema: findParameters as Anthropic.Tool["input_schema"]
    }
];

test("chat", async (t) => {
    const answer = await client().messages.create({ ...sampling, messages, system: "Be short." });
    t.deepEqual(answer.content, [{ type: "text", text: answerText }] as never);
    t.deepEqual([answer.stop_reason, answer.stop_sequence], ["end_turn", null]);
    t.true(messageResponseSchema.safeParse(answer).success);
    const stopped = await client().messages.create({ ...sampling, messages, stop_sequences: [" in"] });
    t.deepEqual([stopped.stop_reason, stopped.stop_sequence], ["stop_sequence", " in"]);
    const short = await client().messages.create({ ...sampling, messages, max_tokens: 2 });
    t.is(short.stop_reason, "max_tokens");
    const { input_tokens } = await client().messages.countTokens({ model: "tiny", messages });
    const { usage } = stopped;
    t.is(input_tokens, usage.input_tokens + usage.cache_read_input_tokens! + usage.cache_creation_input_tokens!);
});

test("stream", async (t) => {
    const types: string[] = [];
    const stream = client().messages.stream({ ...sampling, messages });
    stream.on("streamEvent", ({ type }) => {
        if (types.at(-1) !== type) types.push(type);
    });
    t.is(await stream.finalText(), answerText);
    t.deepEqual(types, [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop"
    ]);
    t.true((await stream.finalMessage()).usage.output_tokens > 0);
});

test("tools", async (t) => {
    const called = await client().messages.create({ ...sampling, messages, tools });
    const [call] = called.content as Anthropic.ToolUseBlock[];
    t.is(called.stop_reason, "tool_use");
    t.deepEqual([call!.name, call!.input], ["find", { where: "box" }]);
    const result = { type: "tool_result" as const, tool_use_id: call!.id, content: "a lamp" };
    const answer = await client().messages.create({
        ...sampling,
        tools,
        messages: [
            ...messages,
            { role: "assistant", content: called.content as Anthropic.ContentBlockParam[] },
            { role: "user", content: [result] }
        ]
    });
    t.deepEqual(answer.content, [{ type: "text", text: answerText }] as never);
    const streamed = await client()
        .messages.stream({ ...sampling, messages, tools })
        .finalMessage();
    t.deepEqual((streamed.content as Anthropic.ToolUseBlock[])[0]!.input, { where: "box" });
    const forced = await client().messages.create({
        ...sampling,
        messages,
        tools,
        tool_choice: { type: "tool", name: "find" }
    });
    t.is(forced.stop_reason, "tool_use");
});

test("schema", async (t) => {
    // the client moves bounds to the description
    const schema = z.object({ place: z.enum(["box", "shelf"]), sure: z.boolean() });
    const answer = await client().messages.parse({
        ...sampling,
        messages,
        output_config: { format: zodOutputFormat(schema) }
    });
    t.true(schema.safeParse(answer.parsed_output).success);
});

test("errors", async (t) => {
    const missing = await t.throwsAsync<InstanceType<typeof Anthropic.NotFoundError>>(
        client().messages.create({ ...sampling, model: "other", messages }),
        { instanceOf: Anthropic.NotFoundError }
    );
    t.is((missing!.error as { error: { type: string } }).error.type, "not_found_error");
    await t.throwsAsync(client().messages.create({ ...sampling, messages: [] }), {
        instanceOf: Anthropic.BadRequestError
    });
    const image = { type: "image" as const, source: { type: "url" as const, url: "https://example.org/a.png" } };
    await t.throwsAsync(client().messages.create({ ...sampling, messages: [{ role: "user", content: [image] }] }), {
        message: /messages\.0\.content/
    });
});
