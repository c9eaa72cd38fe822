import test from "ava";
import { ApiError } from "../../src/server/errors.js";
import { messagesOf as chatOf } from "../../src/server/routes/messages/translate.js";
import { messagesOf as ollamaOf } from "../../src/server/routes/ollama/translate.js";
import { messagesOf as responsesOf } from "../../src/server/routes/responses/input.js";
import { countTokensRequestSchema } from "../../src/server/schemas/messages.js";
import { ollamaChatRequestSchema } from "../../src/server/schemas/ollama.js";
import { responseRequestSchema } from "../../src/server/schemas/responses.js";
import { validate } from "../../src/server/validate.js";

const user = { role: "user", content: "Hi" };

test("results of Ollama's API answer the calls that they name", (t) => {
    const chat = (calls: object[], results: object[]) => {
        const messages = [user, { role: "assistant", content: "", tool_calls: calls }, ...results];
        return ollamaOf(ollamaChatRequestSchema.parse({ model: "tiny", messages }).messages);
    };
    const call = (name: string, id?: string) => ({ function: { name, arguments: {} }, ...(id && { id }) });
    const resultsOf = (calls: object[], results: object[]) =>
        chat(calls, results).flatMap((message) => (message.role === "tool" ? [[message.callId, message.text]] : []));
    const [a, b] = [
        { role: "tool", content: "A" },
        { role: "tool", content: "B" }
    ];
    const expected = [
        ["call_1", "B"],
        ["call_0", "A"]
    ];
    const byId = [
        { ...b, tool_call_id: "y" },
        { ...a, tool_call_id: "x" }
    ];
    t.deepEqual(resultsOf([call("f", "x"), call("f", "y")], byId), expected);
    t.deepEqual(
        resultsOf(
            [call("f"), call("g")],
            [
                { ...b, tool_name: "g" },
                { ...a, tool_name: "f" }
            ]
        ),
        expected
    );
    t.deepEqual(resultsOf([call("f"), call("g")], [a, b]), [
        ["call_0", "A"],
        ["call_1", "B"]
    ]);
    t.throws(() => resultsOf([call("f")], [a, b]), { message: /messages\.3|no call/ });
    const asText = { function: { name: "f", arguments: '{"id": 9007199254740993}' } };
    t.like(chat([asText], [a])[1], { calls: [{ arguments: '{"id": 9007199254740993}' }] });
});

test("calls and results of Anthropic's API may come in several messages, and may share an id", (t) => {
    const chat = (...messages: object[]) => {
        const body = countTokensRequestSchema.parse({ model: "tiny", messages: [user, ...messages] });
        return chatOf(body).messages.slice(1);
    };
    const use = (id: string) => ({ type: "tool_use", id, name: "f", input: JSON.parse('{"__proto__": 1}') });
    const result = (id: string, content: string) => ({ type: "tool_result", tool_use_id: id, content });
    const assistant = (...content: object[]) => ({ role: "assistant", content });
    const answer = (...content: object[]) => ({ role: "user", content });
    const text = { type: "text", text: "And?" };
    const call = (id: string) => ({ id, name: "f", arguments: '{"__proto__":1}' });
    const whole = [
        { role: "assistant", text: "", calls: [call("a"), call("b")] },
        { role: "tool", callId: "a", text: "1" },
        { role: "tool", callId: "b", text: "2" },
        { role: "user", text: "And?" }
    ];
    t.deepEqual(chat(assistant(use("a"), use("b")), answer(result("a", "1"), result("b", "2"), text)), whole as never);
    t.deepEqual(
        chat(assistant(use("a")), assistant(use("b")), answer(result("a", "1"), text), answer(result("b", "2"))),
        whole as never
    );
    const same = chat(assistant(use("a"), use("a")), answer(result("a", "1"), result("a", "2")));
    t.deepEqual(
        same.map((message) => message.role),
        ["assistant", "tool", "tool"]
    );
    for (const messages of [
        [assistant(use("a")), answer(text)],
        [assistant(use("a")), answer(text), assistant(text)],
        [assistant(use("a")), answer(result("a", "1"), result("a", "2"))]
    ])
        t.throws(() => chat(...messages), { message: /tool_result|tool_use/ });
});

test("a text between a call and its output is a part of the call's message", (t) => {
    const chat = (...items: object[]) => {
        const { input } = responseRequestSchema.parse({ input: [user, ...items] });
        const itemOf = () => {
            throw new Error("no items are stored");
        };
        return responsesOf(input, { previous: [], itemOf, note: () => {} }).slice(1);
    };
    const call = { type: "function_call", call_id: "c", name: "f", arguments: "{" };
    const output = { type: "function_call_output", call_id: "c", output: "x" };
    const called = { id: "c", name: "f", arguments: "{" };
    const result = { role: "tool", callId: "c", text: "x" };
    const wait = { role: "assistant", content: "Wait" };
    t.deepEqual(chat(call, wait, output), [{ role: "assistant", text: "Wait", calls: [called] }, result] as never);
    t.deepEqual(chat(call, call, output, output), [
        { role: "assistant", text: "", calls: [called, called] },
        result,
        result
    ] as never);
    t.throws(() => chat(call, output, output), { message: /no call/ });
    t.throws(() => chat(call, user, output), { message: /function_call_output/ });
});

test("an item of a response that is wrong is named by its key", (t) => {
    const item = { type: "function_call_output", call_id: "c", output: { a: 1 } };
    const error = t.throws(() => validate(responseRequestSchema, { input: [item] }), { instanceOf: ApiError });
    t.is(error.details.param, "input.0.output");
});
