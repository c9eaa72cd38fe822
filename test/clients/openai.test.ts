import test from "ava";
import OpenAI from "openai";
import { zodResponseFormat, zodResponsesFunction, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { answerText, findParameters, shareServer } from "../helpers/assistant.js";

const server = shareServer();
const input = "Where is the lamp?";
const messages = [{ role: "user" as const, content: input }];
const sampling = { model: "tiny", temperature: 0 };
const find = { name: "find", description: "Looks into a place.", parameters: findParameters, strict: true };
const place = z.object({ place: z.enum(["box", "shelf"]), sure: z.boolean() });

test("chat", async (t) => {
    const { openai } = server();
    const { choices } = await openai.chat.completions.create({ ...sampling, messages });
    t.is(choices[0]!.message.content, answerText);
    t.is(choices[0]!.finish_reason, "stop");
    const response = await openai.responses.create({ ...sampling, input });
    t.is(response.output_text, answerText);
    t.is(response.status, "completed");
    const next = await openai.responses.create({ ...sampling, input: "And now?", previous_response_id: response.id });
    t.is(next.output_text, answerText);
    t.true(next.usage!.input_tokens > response.usage!.total_tokens);
});

test("log-probabilities of responses are those of chats", async (t) => {
    const { openai } = server();
    const { choices } = await openai.chat.completions.create({
        ...sampling,
        messages,
        logprobs: true,
        top_logprobs: 2
    });
    const expected = choices[0]!.logprobs!.content!;
    const request = { ...sampling, input, include: ["message.output_text.logprobs" as const], top_logprobs: 2 };
    const response = await openai.responses.create(request);
    const [message] = response.output as OpenAI.Responses.ResponseOutputMessage[];
    const [part] = message!.content as OpenAI.Responses.ResponseOutputText[];
    t.deepEqual(part!.logprobs, expected);
    t.is(response.top_logprobs, 2);
    const streamed: object[] = [];
    for await (const event of await openai.responses.create({ ...request, stream: true }))
        if (event.type === "response.output_text.delta") streamed.push(...event.logprobs);
    t.deepEqual(streamed, expected);
    const tools = [{ type: "function" as const, ...find }];
    for (const [more, param] of [
        [{ include: [] }, "top_logprobs"],
        [{ tools }, "include"]
    ] as const) {
        const error = await t.throwsAsync<InstanceType<typeof OpenAI.APIError>>(
            openai.responses.create({ ...request, ...more } as OpenAI.Responses.ResponseCreateParamsNonStreaming),
            { instanceOf: OpenAI.BadRequestError }
        );
        t.is(error!.param, param);
    }
});

test("stream", async (t) => {
    const { openai } = server();
    const chat = openai.chat.completions.stream({ ...sampling, messages });
    t.is(await chat.finalContent(), answerText);
    const response = openai.responses.stream({ ...sampling, input });
    const types: string[] = [];
    response.on("event", ({ type }) => {
        if (types.at(-1) !== type) types.push(type);
    });
    const { output_text } = await response.finalResponse();
    t.is(output_text, answerText);
    t.deepEqual(types, [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed"
    ]);
});

test("tools", async (t) => {
    const { openai } = server();
    const tool = { type: "function" as const, function: { ...find, function: () => "a lamp", parse: JSON.parse } };
    const runner = openai.chat.completions.runTools({ ...sampling, messages, tools: [tool] });
    t.is(await runner.finalContent(), answerText);
    t.is((await runner.finalFunctionToolCall())!.name, "find");
    const streaming = openai.chat.completions.runTools({ ...sampling, messages, tools: [tool], stream: true });
    const pieces: string[] = [];
    streaming.on("content", (piece) => pieces.push(piece));
    t.is(await streaming.finalContent(), answerText);
    t.is(pieces.join(""), answerText);

    const tools = [{ type: "function" as const, ...find }];
    const first = await openai.responses.create({ ...sampling, input, tools });
    const [call] = first.output as OpenAI.Responses.ResponseFunctionToolCall[];
    t.deepEqual([call!.type, call!.name, call!.arguments], ["function_call", "find", '{"where": "box"}']);
    const result = { type: "function_call_output" as const, call_id: call!.call_id, output: "a lamp" };
    const stored = await openai.responses.create({
        ...sampling,
        tools,
        previous_response_id: first.id,
        input: [result]
    });
    t.is(stored.output_text, answerText);
    const stateless = await openai.responses.create({
        ...sampling,
        tools,
        store: false,
        input: [...messages, ...(first.output as OpenAI.Responses.ResponseInputItem[]), result]
    });
    t.is(stateless.output_text, answerText);
    t.is(stateless.usage!.input_tokens, stored.usage!.input_tokens);

    // what the client adds to an answer that it parsed comes back
    const parsed = await openai.responses.parse({
        ...sampling,
        input,
        tools: [zodResponsesFunction({ name: "find", parameters: z.object({ where: z.enum(["box", "shelf"]) }) })]
    });
    t.deepEqual((parsed.output[0] as { parsed_arguments?: unknown }).parsed_arguments, { where: "box" });
    const { call_id } = parsed.output[0] as OpenAI.Responses.ResponseFunctionToolCall;
    const history = [...messages, ...parsed.output, { ...result, call_id }];
    const after = await openai.responses.parse({
        ...sampling,
        text: { format: zodTextFormat(place, "place") },
        input: history as OpenAI.Responses.ResponseInputItem[]
    });
    t.true(place.safeParse(after.output_parsed).success);
    const more = [...history, ...after.output, ...messages] as OpenAI.Responses.ResponseInputItem[];
    t.is((await openai.responses.create({ ...sampling, input: more })).output_text, answerText);

    const types: string[] = [];
    for await (const { type } of await openai.responses.create({ ...sampling, input, tools, stream: true }))
        types.push(type);
    t.deepEqual(types, [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed"
    ]);
});

test("schema", async (t) => {
    const { openai } = server();
    const chat = await openai.chat.completions.parse({
        ...sampling,
        messages,
        response_format: zodResponseFormat(place, "place")
    });
    t.true(place.safeParse(chat.choices[0]!.message.parsed).success);
    const response = await openai.responses.parse({
        ...sampling,
        input,
        text: { format: zodTextFormat(place, "place") }
    });
    t.true(place.safeParse(response.output_parsed).success);
});

test("errors", async (t) => {
    const { openai } = server();
    const wrong = {
        ...sampling,
        input,
        text: { format: { type: "json_schema" as const, name: "a", schema: { not: {} } } }
    };
    const error = await t.throwsAsync<InstanceType<typeof OpenAI.APIError>>(openai.responses.create(wrong), {
        instanceOf: OpenAI.BadRequestError
    });
    t.is(error!.param, "text.format.schema");
    await t.throwsAsync(openai.chat.completions.create({ ...sampling, model: "other", messages }), {
        instanceOf: OpenAI.NotFoundError
    });
    const noResult = [{ type: "function_call" as const, call_id: "1", name: "find", arguments: "{}" }];
    const open = await t.throwsAsync<InstanceType<typeof OpenAI.APIError>>(
        openai.responses.create({ ...sampling, input: noResult }),
        { instanceOf: OpenAI.BadRequestError }
    );
    t.is(open!.param, "input");
});
