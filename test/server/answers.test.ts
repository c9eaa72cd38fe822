import type { ExecutionContext } from "ava";
import test from "ava";
import { post, readEvents, startServer, type TestServerOptions } from "../helpers/server.js";

/** A chat of one turn that ends with the role's name as a special token. */
const template =
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
const special = ["<|user|>", "<|assistant|>", "<|stop|>"];

/** What tests look at, whatever the answer is. */
// biome-ignore lint/suspicious/noExplicitAny: answers of many shapes
type Json = any;

type Scripted = Exclude<TestServerOptions["tiny"], undefined | "plain">;

async function serve(t: ExecutionContext, tiny: Scripted) {
    const { url, server } = await startServer(t, { tiny, sequences: 1 });
    const ask = async (path: string, body: object) => {
        const { text, json } = await post(url + path, { temperature: 0, max_tokens: 30, ...body });
        const isStream = text.startsWith("data:");
        return {
            events: (isStream ? readEvents(text).events : []) as Json[],
            json: (isStream ? {} : json()) as Json
        };
    };
    const chat = (more: object = {}) =>
        ask("/v1/chat/completions", { messages: [{ role: "user", content: "Hi" }], ...more });
    const complete = (more: object = {}) => ask("/v1/completions", { prompt: "<|assistant|>", ...more });
    return { url, model: server.engine.model, chat, complete, ask };
}

const cut = (text: string, ...places: number[]) => {
    const bytes = Buffer.from(text);
    return [...places, bytes.length].map((end, i) => bytes.subarray(places[i - 1] ?? 0, end));
};

test("tokens that end within characters give the text of their bytes, whole and streamed, in every answer", async (t) => {
    // the cuts are in 本, between the halves of 😀, and in す
    const text = "日本語😀です";
    const pieces = cut(text, 4, 11, 14, 17);
    const { chat, complete, ask } = await serve(t, {
        special,
        template,
        script: [["<|assistant|>", ...pieces, "<eos>"]]
    });
    t.is((await complete()).json.choices[0].text, text);
    t.is((await complete({ stream: true })).events.map((event) => event.choices[0].text).join(""), text);
    t.is((await chat()).json.choices[0].message.content, text);
    t.is((await chat({ stream: true })).events.map((event) => event.choices[0].delta.content ?? "").join(""), text);
    const { json } = await ask("/v1/responses", { input: "Hi", max_tokens: undefined, max_output_tokens: 30 });
    t.is(json.output[0].content[0].text, text);
});

for (const sentencePiece of [false, true])
    test(`an echoed prompt is its text, ${sentencePiece ? "SentencePiece" : "byte-level BPE"}`, async (t) => {
        const script = [["Who", " is", " it", "?", " It", " ", ...cut("😊", 1, 2, 3), " done", "<eos>"]];
        const { complete } = await serve(t, { special, script, sentencePiece });
        for (const prompt of ["Who is it?", "<|stop|>Who is\n😊 it?"]) {
            const answer = " It 😊 done";
            t.is((await complete({ prompt, echo: true })).json.choices[0].text, prompt + answer);
            t.is((await complete({ prompt, echo: true, max_tokens: 0 })).json.choices[0].text, prompt);
            const { text, logprobs } = (await complete({ prompt, echo: true, logprobs: 1 })).json.choices[0];
            t.is(text, prompt + answer);
            t.is(logprobs.tokens.join(""), text);
            const { events } = await complete({ prompt, echo: true, logprobs: 1, stream: true });
            t.is(events.map((event) => event.choices[0].text).join(""), text);
            for (const key of ["tokens", "token_logprobs", "text_offset"])
                t.deepEqual(
                    events.flatMap((event) => event.choices[0].logprobs?.[key] ?? []),
                    logprobs[key]
                );
        }
    });

for (const sentencePiece of [false, true])
    test(`log-probabilities have the answer's text and bytes, ${sentencePiece ? "SentencePiece" : "byte-level BPE"}`, async (t) => {
        const script = [["<|assistant|>", "So", " it", " ", ...cut("😊", 1, 2, 3), " is", "<|stop|>", " so", "<eos>"]];
        const { chat, complete } = await serve(t, { special, template, script, sentencePiece });
        const { choices } = (await chat({ logprobs: true, top_logprobs: 2 })).json;
        const { content } = choices[0].message;
        t.is(content, "So it 😊 is so");
        const streamed = (await chat({ logprobs: true, stream: true })).events.flatMap(
            (event) => event.choices[0].logprobs?.content ?? []
        );
        for (const list of [choices[0].logprobs.content, streamed]) {
            t.is(Buffer.from(list.flatMap(({ bytes }: Json) => bytes)).toString(), content);
            t.is(list.map(({ token }: Json) => token).join(""), content);
            t.is(list.length, 10);
        }
        const { text, logprobs } = (await complete({ logprobs: 2 })).json.choices[0];
        t.is(text, content);
        const characters = [...text];
        for (const [i, token] of logprobs.tokens.entries()) {
            const from = logprobs.text_offset[i];
            t.is(characters.slice(from, from + [...token].length).join(""), token);
        }
        t.is(logprobs.tokens.join(""), text);
        // cut off by a stop string within a token
        const stopped = (await chat({ logprobs: true, stop: "s so" })).json.choices[0];
        t.is(stopped.message.content, "So it 😊 i");
        t.is(
            Buffer.from(stopped.logprobs.content.flatMap(({ bytes }: Json) => bytes)).toString(),
            stopped.message.content
        );
    });

test("an answer that ends anywhere has the texts and the bytes of its tokens", async (t) => {
    // each token ends or begins within a character, and one byte is part of none
    const bytes = Buffer.from(" 😀ée€A😀z\u00ff€");
    bytes[bytes.indexOf(0xc3, 10)] = 0xff;
    const places = [2, 4, 6, 7, 9, 10, 12, 14, 15, 17, 19, 20];
    const pieces = places.map((end, i) => bytes.subarray(places[i - 1] ?? 0, end));
    const { chat, complete, ask } = await serve(t, {
        special,
        template,
        script: [["<|assistant|>", ...pieces, "<eos>"]]
    });
    for (let count = 1; count <= pieces.length; count++) {
        const written = Buffer.concat(pieces.slice(0, count));
        for (const stream of [false, true]) {
            const at = `${count} tokens, stream: ${stream}`;
            const { json, events } = await chat({ logprobs: true, max_tokens: count, stream });
            const parts: Json[] = stream ? events.flatMap(({ choices }) => choices) : json.choices;
            const shown = parts.flatMap(({ logprobs }) => logprobs?.content ?? []);
            const text = parts.map(({ delta, message }) => (delta ?? message).content ?? "").join("");
            t.is(text, written.toString(), at);
            t.is(shown.map(({ token }) => token).join(""), text, at);
            t.deepEqual(Buffer.from(shown.flatMap((token) => token.bytes)), written, at);
            const completion = await complete({ logprobs: 1, max_tokens: count, stream });
            const choices: Json[] = stream
                ? completion.events.flatMap((event) => event.choices)
                : completion.json.choices;
            const texts = choices.flatMap(({ logprobs }) => logprobs?.tokens ?? []) as string[];
            const offsets = choices.flatMap(({ logprobs }) => logprobs?.text_offset ?? []);
            t.is(texts.join(""), text, at);
            t.deepEqual(
                offsets,
                texts.map((_, i) => [...texts.slice(0, i).join("")].length),
                at
            );
        }
        const given = { input: "Hi", max_tokens: undefined, max_output_tokens: count };
        const { json } = await ask("/v1/responses", { ...given, include: ["message.output_text.logprobs"] });
        const [part] = json.output[0].content;
        t.is(part.logprobs.map(({ token }: Json) => token).join(""), part.text);
    }
    // the first stop string to be complete ends the answer, wherever its bytes are
    for (const [stop, expected] of [
        [["é"], " 😀"],
        [["ée", "€"], " 😀"],
        [["😀", " "], ""],
        [["€A", "A"], " 😀ée"],
        [["A😀z", "€A😀"], " 😀ée"]
    ] as const)
        for (const stream of [false, true]) {
            const { json, events } = await complete({ stop, stream });
            const parts: Json[] = stream ? events.flatMap(({ choices }) => choices) : json.choices;
            t.is(parts.map(({ text }) => text).join(""), expected, `${stop}`);
            t.is(parts.at(-1)!.finish_reason, "stop");
        }
});

test("a special token in `stop` ends the answer, and its name in a text that the model writes ends none", async (t) => {
    const { chat, complete } = await serve(t, {
        special,
        template,
        script: [["<|assistant|>", "Elbe", "<|stop|>", " <", "|stop|>", "<eos>"]]
    });
    t.is((await complete()).json.choices[0].text, "Elbe <|stop|>");
    for (const ask of [chat, complete])
        for (const stop of ["<|stop|>", ["nothing", "be<|stop|>"]]) {
            const [choice] = (await ask({ stop })).json.choices;
            t.is(choice.text ?? choice.message.content, stop === "<|stop|>" ? "Elbe" : "El");
            t.is(choice.finish_reason, "stop");
        }
});

test("in every API, a special token in `stop` ends an answer, and so does its name as text, but only there", async (t) => {
    const marker = "<|stop|>";
    const messages = [{ role: "user", content: "Hi" }];
    const ollama = { model: "tiny", stream: false, max_tokens: undefined, temperature: undefined };
    const apis: [path: string, body: object, stop: (stop: string) => object, text: (json: Json) => string][] = [
        ["/v1/chat/completions", { messages }, (stop) => ({ stop }), (json) => json.choices[0].message.content],
        ["/v1/completions", { prompt: "<|assistant|>" }, (stop) => ({ stop }), (json) => json.choices[0].text],
        ["/v1/responses", { input: "Hi", max_tokens: undefined }, () => ({}), (json) => json.output[0].content[0].text],
        ["/v1/messages", { messages }, (stop) => ({ stop_sequences: [stop] }), (json) => json.content[0].text],
        [
            "/api/chat",
            { ...ollama, messages },
            (stop) => ({ options: { stop, temperature: 0 } }),
            (json) => json.message.content
        ],
        [
            "/api/generate",
            { ...ollama, prompt: "Hi" },
            (stop) => ({ options: { stop: [stop], temperature: 0 } }),
            (json) => json.response
        ]
    ];
    for (const [before, after] of [
        [["Elbe", marker], " and more"],
        [["Elbe", "<|st", "op|>"], " and more"]
    ] as const) {
        const written = before.length === 2 ? "Elbe and more" : `Elbe${marker} and more`;
        const { ask } = await serve(t, { special, template, script: [["<|assistant|>", ...before, after, "<eos>"]] });
        for (const [path, body, stop, textOf] of apis) {
            const { json } = await ask(path, { ...body, ...stop("nothing") });
            t.is(json.error ?? null, null, path);
            t.is(textOf(json), written, path);
            t.is(textOf((await ask(path, { ...body, ...stop("<|user|>") })).json), written, path);
            if (path === "/v1/responses") continue;
            t.is(textOf((await ask(path, { ...body, ...stop(marker) })).json), "Elbe", path);
        }
    }
});

test("the model's own stop strings end every answer, but not one that a grammar writes", async (t) => {
    const { chat, complete, ask } = await serve(t, {
        special,
        template,
        stopStrings: ["\nHuman:", "END"],
        script: [["<|assistant|>", "Elbe", "\nHu", "man: more", "<eos>"]]
    });
    const asked: [object, string][] = [
        [{}, "Elbe"],
        [{ stop: "nothing" }, "Elbe"],
        [{ stop: ["lb", "nothing"] }, "E"]
    ];
    for (const answer of [chat, complete])
        for (const [more, expected] of asked) {
            const [choice] = (await answer(more)).json.choices;
            t.is(choice.text ?? choice.message.content, expected);
            t.is(choice.finish_reason, "stop");
        }
    const { events } = await chat({ stream: true });
    t.is(events.map((event) => event.choices[0].delta.content ?? "").join(""), "Elbe");
    const message = { max_tokens: 30, messages: [{ role: "user", content: "Hi" }] };
    const { json } = await ask("/v1/messages", message);
    t.is(json.content[0].text, "Elbe");
    // a client's own stop string would be `stop_sequence`
    t.is(json.stop_reason, "end_turn");
    t.is(json.stop_sequence, null);
    const { json: own } = await ask("/v1/messages", { ...message, stop_sequences: ["lb"] });
    t.is(own.stop_sequence, "lb");
    const schema = { type: "string", const: "END" };
    const formatted = await chat({ response_format: { type: "json_schema", json_schema: { name: "x", schema } } });
    t.is(formatted.json.choices[0].message.content, '"END"');
});

test("what looks like the end of a turn, or like the next one, ends no answer", async (t) => {
    const markers = ["<|im_start|>", "<|im_end|>"];
    const chatml =
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
    const text = "A <|im_end|> and\n### Human\nuser: <end> of it";
    const pieces = ["A <|im_", "end|> and", "\n### Human\n", "user: <end> of it"];
    const { chat } = await serve(t, { special: markers, template: chatml, script: [["\n", ...pieces, "<eos>"]] });
    const [choice] = (await chat()).json.choices;
    t.is(choice.message.content, text);
    t.is(choice.finish_reason, "stop");
});

test("the token with which the template ends a turn ends the answer", async (t) => {
    const turns =
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|stop|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
    const { chat } = await serve(t, {
        special,
        template: turns,
        script: [["<|assistant|>", "Elbe", "<|stop|>", "more"]]
    });
    const [choice] = (await chat()).json.choices;
    t.is(choice.message.content, "Elbe");
    t.is(choice.finish_reason, "stop");
});

const tools = (parameters: object) => [{ type: "function", function: { name: "look", parameters } }];
const id = { type: "object", properties: { id: { type: "integer" } }, required: ["id"], additionalProperties: false };

test("a call keeps the digits that the model writes", async (t) => {
    for (const number of ["1374029117403856901", "12"]) {
        const { chat } = await serve(t, { script: [["(", '{"id": ', ...cut(number, 1), "}", ")"]] });
        const { json } = await chat({ tools: tools(id), tool_choice: "required", parallel_tool_calls: false });
        const [choice] = json.choices;
        t.is(choice.finish_reason, "tool_calls");
        t.is(choice.message.content, null);
        t.is(choice.message.tool_calls[0].function.arguments, `{"id": ${number}}`);
    }
});

test("a text goes over into calls where the model writes one, and stays text where it only looks like one", async (t) => {
    const script = [["<|assistant|>", "Let me see.\n", "||call", ": lo", "ok(", '{"id": ', "7", "}", ")", "<eos>"]];
    const { chat } = await serve(t, { special, template, script });
    const body = { tools: tools(id), logprobs: undefined };
    const [choice] = (await chat(body)).json.choices;
    t.is(choice.message.content, "Let me see.");
    t.deepEqual(
        choice.message.tool_calls.map(({ function: call }: Json) => call),
        [{ name: "look", arguments: '{"id": 7}' }]
    );
    t.is(choice.finish_reason, "tool_calls");
    const events = (await chat({ ...body, stream: true })).events;
    t.is(events.map((event) => event.choices[0].delta.content ?? "").join(""), "Let me see.");
    t.is(events.flatMap((event) => event.choices[0].delta.tool_calls ?? []).length, 1);
    const other = await serve(t, {
        special,
        template,
        script: [["<|assistant|>", "So ||call", ": the", " vet.", "<eos>"]]
    });
    const text = (await other.chat(body)).json.choices[0];
    t.is(text.message.content, "So ||call: the vet.");
    t.is(text.finish_reason, "stop");
});

test("messages come back as clients keep them", async (t) => {
    const { ask } = await serve(t, { special, template, script: [["<|assistant|>", "Yes", "<eos>"]] });
    const user = { role: "user", content: "Hi" };
    const call = { index: 0, id: "call_1", type: "function", function: { name: "now", arguments: "" } };
    const result = { role: "tool", tool_call_id: "call_1", name: "now", content: [{ type: "text", text: "noon" }] };
    const taken: object[][] = [
        [
            user,
            {
                role: "assistant",
                content: "Yes",
                refusal: null,
                annotations: null,
                audio: null,
                function_call: null,
                tool_calls: null
            }
        ],
        [
            user,
            { role: "assistant", content: "Yes", annotations: [], index: 0, parsed: { a: 1 }, reasoning_content: "hm" }
        ],
        [user, { role: "assistant", content: null, refusal: "No." }],
        [user, { role: "assistant", content: [{ type: "text", text: "Yes", index: 0 }], images: [], metadata: {} }],
        [user, { role: "assistant", tool_calls: [call] }, result],
        [user, { role: "assistant", content: [], tool_calls: [call] }, { ...result, content: "" }],
        // an answer that was cut off before its first word
        [user, { role: "assistant", content: null, refusal: null }],
        [user, { role: "assistant" }],
        // other servers' keys, parts and ids
        [user, { role: "assistant", content: "Yes", model: "m", timestamp: 1, thinking: "hm", usage: { a: 1 } }],
        [
            user,
            {
                role: "assistant",
                content: [
                    { type: "thinking", thinking: [{ type: "text", text: "hm" }] },
                    { type: "output_text", text: "Yes" }
                ]
            }
        ],
        [
            user,
            { role: "assistant", tool_calls: [{ ...call, id: "", extra_content: { a: 1 } }] },
            { ...result, tool_call_id: "" }
        ],
        [user, { role: "assistant", tool_calls: [call, call] }, result, { ...result, is_error: true }],
        [user, { role: "assistant", tool_calls: [call, call] }, result],
        [
            user,
            { role: "assistant", tool_calls: [{ ...call, function: { name: "now", arguments: '{"a": "b' } }] },
            result
        ]
    ];
    for (const messages of taken) {
        const { json } = await ask("/v1/chat/completions", { messages: [...messages, user] });
        t.is(json.choices?.[0].message.content, "Yes", JSON.stringify(json));
    }
    const refused: [object, string][] = [
        [{ role: "assistant", content: "Yes", audio: { id: "a" } }, "messages.1.audio"],
        [
            { role: "assistant", content: "Yes", function_call: { name: "now", arguments: "{}" } },
            "messages.1.function_call"
        ],
        [{ role: "assistant", content: "Yes", prefix: true }, "messages.1.prefix"]
    ];
    for (const [message, param] of refused)
        t.is((await ask("/v1/chat/completions", { messages: [user, message] })).json.error.param, param);
    const called = [user, { role: "assistant", tool_calls: [call] }];
    for (const messages of [
        [...called, result, result],
        [...called, result, user, result]
    ]) {
        const { json } = await ask("/v1/chat/completions", { messages });
        t.is(json.error.param, `messages.${messages.length - 1}.tool_call_id`);
    }
});

test("an answer under a schema shows special tokens as the grammar sees them", async (t) => {
    const script = [["<|assistant|>", '"', "a", "<|stop|>", "b", '"', "<eos>"]];
    const { chat } = await serve(t, { special, template, script: script.map((list) => list.slice(0, 5)) });
    const schema = { type: "string", maxLength: 12 };
    const { json } = await chat({ response_format: { type: "json_schema", json_schema: { name: "x", schema } } });
    const text = JSON.parse(json.choices[0].message.content);
    t.true(text.startsWith("a<|stop|>b") && text.length <= 12, text);
});

test("a chat with tools is rendered with the file's own template for tools", async (t) => {
    const withTools = `{% for tool in tools or [] %}<|tool|>{{ tool.function.name }}{% endfor %}${template}`;
    const templates = [
        { name: "default", template },
        { name: "tool_use", template: withTools }
    ];
    const tokens = [...special, "<|tool|>"];
    const script = [["<|assistant|>", "Yes", "<eos>"]];
    const { ask, chat } = await serve(t, { special: tokens, template: templates, script });
    const messages = [{ role: "user", content: "Hi" }];
    const tools = [{ type: "function", function: { name: "now" } }];
    const promptOf = async (more: object) => {
        const body = { messages, temperature: undefined, max_tokens: undefined, ...more };
        return (await ask("/apply-template", body)).json.prompt as string;
    };
    const end = "<|user|>Hi<eos><|assistant|>";
    t.true((await promptOf({})).endsWith(end));
    // a template that does not show how calls are written gets their description in words
    t.regex(await promptOf({ tools }), /You can call functions/);
    t.is((await chat({ tools })).json.choices[0].message.content, "Yes");

    const calls =
        `{% for tool in tools or [] %}<|tool|>{{ tool.function.name }}{% endfor %}{% for m in messages %}<|{{ m.role }}|>` +
        `{{ m.content }}{% for c in m.tool_calls or [] %}<tool_call>{{ {'name': c.function.name, 'arguments': c.function.arguments} | tojson }}` +
        `</tool_call>{% endfor %}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}`;
    const native = await serve(t, {
        special: tokens,
        template: [templates[0]!, { name: "tool_use", template: calls }],
        script
    });
    const body = { messages, tools, temperature: undefined, max_tokens: undefined };
    const { prompt } = (await native.ask("/apply-template", body)).json;
    t.true(prompt.endsWith(`<|tool|>now${end}`), prompt);
    t.false(prompt.includes("You can call functions"));
});
