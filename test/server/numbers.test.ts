import test from "ava";
import { jsonText, writeJson } from "../../src/server/JsonText.js";
import { assistantModel } from "../helpers/assistant-model.js";
import { post, startServer } from "../helpers/server.js";

const long = "123456789012345678901234567890";
const json = `{"id": ${long}, "list": [9007199254740993, {"price": 1.10}], "text": "${long}"}`;
const template =
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}" +
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";
const special = ["<|user|>", "<|assistant|>", "<|system|>", "<|tool|>"];
const user = { role: "user", content: "Hi" };

test("numbers of a call keep their digits where its arguments are an object", async (t) => {
    const script = [["<|assistant|>", `||call: f(${json})`, "<eos>"]];
    const { url } = await startServer(t, { tiny: { special, template, script } });
    const common = { model: "tiny", temperature: 0, messages: [user], max_tokens: 9 };
    const parameters = { type: "object", additionalProperties: true };
    const tool = { type: "function", function: { name: "f", parameters } };

    const message = await post(`${url}/v1/messages`, { ...common, tools: [{ name: "f", input_schema: parameters }] });
    t.is(message.status, 200, message.text);
    t.true(message.text.includes(`"input":${json}`), message.text);
    t.notThrows(() => message.json());

    for (const stream of [false, true]) {
        const { max_tokens: _, temperature: __, ...rest } = common;
        const body = { ...rest, tools: [tool], stream, options: { num_predict: 9, temperature: 0 } };
        const { text } = await post(`${url}/api/chat`, body);
        t.true(text.includes(`"arguments":${json}`), text);
        for (const line of text.trim().split("\n")) t.notThrows(() => JSON.parse(line), line);
    }
});

test("arguments of a call are rendered in their order, and with their digits", async (t) => {
    const { url } = await startServer(t, { tiny: assistantModel });
    const json =
        '{"b": 12345678901234567890123, "10": {"2": 1.0, "1": "a\\"3\\": b"}, "9": [{"8": -0, "7": 1E+2}], "a": "5"}';
    const call = { id: "c", type: "function", function: { name: "find", arguments: json } };
    const messages = [
        { role: "user", content: "a" },
        { role: "assistant", tool_calls: [call] },
        { role: "tool", tool_call_id: "c", content: json }
    ];
    const { prompt } = (await post(`${url}/apply-template`, { messages })).json();
    const [, written] = /"arguments": (.*)\}\n<\/tool_call>/.exec(String(prompt))!;
    t.is(written, json);
    t.true(String(prompt).includes(`<|tool|>${json}`));
});

test("calls come back with their arguments as an object, or with a result that is null", async (t) => {
    const { url } = await startServer(t, { tiny: { special, template, script: [["<|assistant|>", "Yes", "<eos>"]] } });
    const promptOf = async (args: string, content: string) => {
        const call = `{"id":"c1","type":"function","function":{"name":"f","arguments":${args}}}`;
        const messages = `[{"role":"user","content":"Hi"},{"role":"assistant","tool_calls":[${call}]},${content}]`;
        const answer = await post(`${url}/apply-template`, `{"messages":${messages}}`);
        t.is(answer.status, 200, answer.text);
        return answer.json().prompt;
    };
    const result = (content: string) => `{"role":"tool","tool_call_id":"c1","content":${content}}`;
    const compact = `{"id":${long},"n":[9007199254740993]}`;
    t.is(await promptOf(compact, result('"x"')), await promptOf(JSON.stringify(compact), result('"x"')));
    t.is(await promptOf('"{}"', result("null")), await promptOf('"{}"', result('""')));
});

test("numbers in the history of other protocols' calls are those of the request", async (t) => {
    const { url } = await startServer(t, { tiny: { special, template, script: [["<|assistant|>", "Yes", "<eos>"]] } });
    const args = `{"id":${long},"n":[1e400,1.10,2.0]}`;
    const count = async (path: string, body: string) => {
        const answer = await post(url + path, body);
        t.is(answer.status, 200, answer.text);
        return Number(/"(?:input_tokens|prompt_eval_count|prompt_tokens)":(\d+)/.exec(answer.text)![1]);
    };
    const call = (text: string) =>
        `"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":${text}}}]`;
    const asText = `"messages":[{"role":"user","content":"Hi"},{"role":"assistant",${call(JSON.stringify(args))}},`;
    const expected = await count(
        "/v1/chat/completions",
        `{${asText}{"role":"tool","tool_call_id":"c1","content":"x"}],"max_tokens":1}`
    );
    const blocks = [
        `{"role":"user","content":"Hi"}`,
        `{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"f","input":${args}}]}`,
        `{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"x"}]}`
    ];
    t.is(await count("/v1/messages/count_tokens", `{"model":"tiny","messages":[${blocks}]}`), expected);
    const chat = [
        `{"role":"user","content":"Hi"}`,
        `{"role":"assistant",${call(args)}}`,
        `{"role":"tool","content":"x"}`
    ];
    const options = `"stream":false,"options":{"num_predict":1}`;
    t.is(await count("/api/chat", `{"model":"tiny","messages":[${chat}],${options}}`), expected);
});

test("a response shows the numbers of its request's schemas as they were, also when it is read again", async (t) => {
    const { url } = await startServer(t, { tiny: { special, template, script: [["<|assistant|>", "Yes", "<eos>"]] } });
    const tools = `[{"type":"function","name":"f","parameters":{"type":"object","properties":{"id":{"const":${long}}}}}]`;
    const body = `"input":"Hi","max_output_tokens":3,"tool_choice":"none","tools":${tools}`;
    const answer = await post(`${url}/v1/responses`, `{${body}}`);
    t.is(answer.status, 200, answer.text);
    t.true(answer.text.includes(`"const":${long}`), answer.text);
    const again = await (await fetch(`${url}/v1/responses/${answer.json().id}`)).text();
    t.true(again.includes(`"const":${long}`), again);
    const streamed = await post(`${url}/v1/responses`, `{${body},"stream":true}`);
    t.true(streamed.text.includes(`"const":${long}`), streamed.text);
});

test("numbers beyond those of JavaScript are written as the schema has them", async (t) => {
    const { url } = await startServer(t, { tiny: { special, template, script: [] } });
    const ask = (schema: string) =>
        post(
            `${url}/v1/chat/completions`,
            `{"messages":[{"role":"user","content":"Hi"}],"max_tokens":60,"response_format":` +
                `{"type":"json_schema","json_schema":{"name":"n","schema":${schema}}}}`
        );
    for (const value of ["1e400", "-1E+999", long, "0.10000000000000000001"])
        for (const schema of [`{"const":${value}}`, `{"enum":[${value}]}`, `{"allOf":[{"const":${value}},{}]}`])
            t.true((await ask(schema)).text.includes(`"content":"${value}"`), schema);
    for (const schema of [`{"type":"integer","minimum":1e400}`, `{"type":"string","minLength":1e400}`])
        t.is((await ask(schema)).status, 400, schema);
});

test("JSON is inserted as it is written, and what looks like its place stays", (t) => {
    t.is(writeJson({ a: [jsonText('{"b": 1.0}'), "text"], c: null }), '{"a":[{"b": 1.0},"text"],"c":null}');
    t.is(writeJson(jsonText('{"a":\n1}')), '{"a": 1}');
    t.is(writeJson({ a: "x 0" }), JSON.stringify({ a: "x 0" }));
});
