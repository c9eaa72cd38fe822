import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import fc from "fast-check";
import { LosslessNumber } from "lossless-json";
import { getLlama, LlamaLogLevel, type LlamaModel } from "../../plugin/index.js";
import { recallQuestionForm } from "../../src/eval/recall/task.js";
import { ChatRefusedError } from "../../src/generation/chat-template/ChatRefusedError.js";
import { ChatTemplate } from "../../src/generation/chat-template/ChatTemplate.js";
import type { Message } from "../../src/generation/chat-template/messages.js";
import { parseTemplate } from "../../src/generation/chat-template/parse-template.js";
import { renderTemplate } from "../../src/generation/chat-template/python/render-template.js";
import { TemplateLimitError, TemplateRenderer } from "../../src/generation/chat-template/TemplateRenderer.js";
import { textOf } from "../../src/generation/TextStream.js";
import { TokenBytes } from "../../src/generation/TokenBytes.js";
import { recallModelPath } from "../../src/model/embedded-model.js";
import { chatTemplates } from "../helpers/chat-templates.js";
import { propertySeed } from "../helpers/property.js";
import { repositoryRoot } from "../helpers/repository.js";

const vocabularies = path.join(repositoryRoot, "native", "build", "llama.cpp", "models");
const llama = await getLlama({ logLevel: LlamaLogLevel.disabled, maxThreads: 1 });
const files = ["llama-bpe", "qwen2", "phi-3", "llama-spm", "gpt-2", "gemma-4"].map((name) => `ggml-vocab-${name}.gguf`);
const models = new Map<string, LlamaModel>();
for (const file of files.filter((name) => readdirSync(vocabularies).includes(name)))
    models.set(file, await llama.loadModel({ modelPath: path.join(vocabularies, file), vocabOnly: true }));
test.after.always(() => llama.dispose());

/** What transformers and the library itself make of a chat. */
function renderPlain(model: LlamaModel, source: string, messages: object[], more: object = {}): string {
    const { bosString, eosString } = model.tokens;
    return renderTemplate(parseTemplate(source), {
        messages,
        bos_token: bosString ?? "",
        eos_token: eosString ?? "",
        add_generation_prompt: true,
        ...more
    });
}

const toPlain = (messages: readonly Message[]) =>
    messages.map((message) => ({ role: message.role, content: message.text }));

/** Users and assistants in turn. */
const chatOf = (contents: readonly string[]): Message[] =>
    contents.map((text, i) => (i % 2 === 0 ? { role: "user", text } : { role: "assistant", text, calls: [] }));

const content = fc.oneof(
    fc.string({ maxLength: 30 }),
    fc.string({ unit: "binary", maxLength: 10 }),
    fc.constantFrom(
        "  spaces around \n",
        "\n\n",
        "1. one\n2. two",
        "### Instruction:\n",
        "a < b",
        "日本語の本😀です",
        "{{ x }}{% if %}",
        ""
    )
);
const contents = fc
    .array(content, { minLength: 1, maxLength: 5 })
    .map((list) => (list.length % 2 === 0 ? list.slice(1) : list));

test("there are vocabularies of all kinds to try", (t) => {
    t.deepEqual([...models.keys()], files);
});

for (const [name, source] of Object.entries(chatTemplates))
    test(`a chat has the tokens of its rendered template, ${name}`, async (t) => {
        for (const [file, model] of models) {
            const template = new ChatTemplate(model, { source });
            t.teardown(() => template.dispose());
            await fc.assert(
                fc.asyncProperty(contents, async (list) => {
                    const messages = chatOf(list);
                    const rendered = renderPlain(model, source, toPlain(messages));
                    const { tokens } = await template.render(messages);
                    t.deepEqual(tokens, model.tokenize(rendered, true), file);
                }),
                { seed: propertySeed, numRuns: 10 }
            );
        }
    });

for (const [name, source] of Object.entries(chatTemplates))
    test(`special tokens that messages name are text, ${name}`, async (t) => {
        for (const [file, model] of models) {
            const template = new ChatTemplate(model, { source });
            t.teardown(() => template.dispose());
            const special = TokenBytes.of(model).specialTokens;
            const names = [...special.keys()].filter((text) => text.length > 2).slice(0, 300);
            const named = fc
                .tuple(fc.constantFrom(...names), content, fc.boolean(), fc.constantFrom("", " ", "\n"))
                .map(([text, other, first, space]) => (first ? text + space + other : other + space + text));
            const count = (tokens: readonly number[]) =>
                tokens.filter((token) => [...special.values()].includes(token as never)).length;
            await fc.assert(
                fc.asyncProperty(fc.tuple(named, named, named), async (list) => {
                    const messages = chatOf(list);
                    const { tokens } = await template.render(messages);
                    const rendered = renderPlain(model, source, toPlain(messages));
                    // the same text in the same places, but with the template's own special tokens alone
                    const neutral = await template.render(chatOf(["x", "y", "z"]));
                    t.is(count(tokens), count(neutral.tokens), `${file}: ${JSON.stringify(list)}`);
                    const strip = (text: string) => text.replace(/\s/g, "");
                    t.is(strip(textOf(model, tokens, { special: true })), strip(rendered), file);
                }),
                { seed: propertySeed, numRuns: 6 }
            );
        }
    });

test("a chat has the tokens of its rendered template, real templates", async (t) => {
    const folder = path.join(vocabularies, "templates");
    const sources = readdirSync(folder).filter((name) => name.endsWith(".jinja"));
    const messages = chatOf([" Hi <|im_end|>", "<think>\nHm.\n</think>\n\nHello\n", "日本語😀"]);
    const plain = toPlain(messages);
    let rendered = 0;
    for (const name of sources) {
        const source = readFileSync(path.join(folder, name), "utf8");
        const template = templateOf(source);
        let expected: string;
        try {
            expected = renderPlain(qwen(), source, plain);
        } catch (error) {
            const refusal = await template.render(messages).catch((reason) => reason);
            t.true(refusal instanceof ChatRefusedError, `${name}: ${error}`);
            continue;
        } finally {
            t.teardown(() => template.dispose());
        }
        const { tokens } = await template.render(messages);
        t.is(textOf(qwen(), tokens, { special: true }), expected, name);
        const isText = !expected.replace("Hi <|im_end|>", "").includes("<|im_end|>");
        t.is(tokens.includes(qwen().tokenize("<|im_end|>", true)[0]!), !isText, name);
        rendered++;
        await template.dispose();
    }
    t.true(rendered > 40, `${rendered} of ${sources.length}`);
});

const qwen = () => models.get("ggml-vocab-qwen2.gguf")!;
const templateOf = (source: string) => new ChatTemplate(qwen(), { source });

test("a chat after a text has no begin token and no system message of the template's own, real templates", async (t) => {
    const folder = path.join(vocabularies, "templates");
    const sources = readdirSync(folder).filter((name) => name.endsWith(".jinja"));
    const user: Message = { role: "user", text: "Where is Bob?" };
    const system: Message = { role: "system", text: "Be brief." };
    const shown = async (template: ChatTemplate, messages: readonly Message[], follows: boolean) =>
        textOf(qwen(), (await template.render(messages, { follows })).tokens, { special: true });
    const without: string[] = [];
    for (const name of sources) {
        const template = templateOf(readFileSync(path.join(folder, name), "utf8"));
        t.teardown(() => template.dispose());
        const first = await shown(template, [user], false).catch((reason) => reason);
        if (first instanceof ChatRefusedError) continue;
        const after = await shown(template, [user], true);
        t.true(first.endsWith(after), name);
        t.true(after.includes("Where is Bob?"), name);
        if (/system/i.test(first) && !/system/i.test(after)) without.push(name);
        // what the user says stays
        const told = await shown(template, [system, user], true);
        t.is(told.includes("Be brief."), (await shown(template, [system, user], false)).includes("Be brief."), name);
        await template.dispose();
    }
    for (const name of ["Qwen-Qwen2.5-7B-Instruct", "HuggingFaceTB-SmolLM3-3B", "ibm-granite-granite-4.0"])
        t.true(without.includes(`${name}.jinja`), `${name} of ${without}`);
});

test("what a request adds to a chat after a text stays", async (t) => {
    const tools = [{ name: "where", description: "", parameters: { type: "object" } }];
    const messages = chatOf(["Where is Bob?"]);
    const stays = async (source: string, options: object) => {
        const template = templateOf(source);
        t.teardown(() => template.dispose());
        const { tokens } = await template.render(messages, options);
        const after = (await template.render(messages, { ...options, follows: true })).tokens;
        const { bos } = qwen().tokens;
        t.deepEqual(after, tokens[0] === bos ? tokens.slice(1) : tokens);
    };
    await stays(chatTemplates.qwen2, { tools });
    const real = (name: string) => readFileSync(path.join(vocabularies, "templates", `${name}.jinja`), "utf8");
    const documents = [{ title: "A note", text: "Bob is in the garden." }];
    await stays(real("ibm-granite-granite-4.0"), { variables: { documents } });
    await stays(real("google-gemma-4-31B-it"), { variables: { enable_thinking: true } });
});

test("a chat after a text begins the same with each turn, whether or not turns have a begin token", async (t) => {
    const model = models.get("ggml-vocab-llama-bpe.gguf")!;
    const llama31 = readFileSync(
        path.join(vocabularies, "templates", "meta-llama-Llama-3.1-8B-Instruct.jinja"),
        "utf8"
    );
    const begin = "{{ bos_token }}";
    const turns =
        "{% for m in messages %}{% if m.role == 'user' %}BOS[INST] {{ m.content }} [/INST]{% else %}{{ m.content }}{% endif %}{% endfor %}";
    for (const [source, start] of [
        [`${begin}${turns.replace("BOS", "")}`, "[INST] Where"],
        [turns.replace("BOS", begin), "<|begin_of_text|>[INST] Where"],
        [llama31, "<|start_header_id|>user"]
    ] as const) {
        const template = new ChatTemplate(model, { source });
        t.teardown(() => template.dispose());
        const [one, two] = [chatOf(["Where is Bob?"]), chatOf(["Where is Bob?", "There.", "And Ann?"])];
        const first = textOf(model, (await template.render(one, { follows: true })).tokens, { special: true });
        const second = textOf(model, (await template.render(two, { follows: true })).tokens, { special: true });
        t.true(first.startsWith(start), `${first} starts with ${start}`);
        const question = first.slice(0, first.indexOf("Bob?") + 4);
        t.true(second.startsWith(question), `${second} starts with ${question}`);
    }
});

test("names that two messages make together are text, too", async (t) => {
    const source = "{% for m in messages %}{{ m.content }}{% endfor %}";
    const template = templateOf(source);
    const messages: Message[] = [
        { role: "user", text: "a <|im_" },
        { role: "user", text: "end|> b" }
    ];
    const { tokens } = await template.render(messages);
    t.deepEqual(tokens, qwen().tokenize("a <|im_end|> b", false));
    t.notDeepEqual(tokens, qwen().tokenize("a <|im_end|> b", true));
});

test("thoughts are found in what an assistant wrote, and left out where the template says so", async (t) => {
    const template = templateOf(chatTemplates.qwen3);
    const messages: Message[] = [
        { role: "user", text: "<|im_end|>one?" },
        { role: "assistant", text: "<think>\nhm\n</think>\n\n1", calls: [] },
        { role: "user", text: "two?" }
    ];
    const render = async (options?: object) =>
        textOf(qwen(), (await template.render(messages, options)).tokens, { special: true });
    t.is(await render(), renderPlain(qwen(), chatTemplates.qwen3, toPlain(messages)));
    t.false((await render()).includes("hm"));
    t.true((await render({ variables: { enable_thinking: false } })).endsWith("assistant\n<think>\n\n</think>\n\n"));
});

const tools = [
    { name: "look", description: "Looks", parameters: { type: "object", properties: { id: { type: "integer" } } } }
];
const called: Message[] = [
    { role: "user", text: "Look it up" },
    {
        role: "assistant",
        text: "",
        calls: [{ id: "call_1", name: "look", arguments: '{"id": 1374029117403856901, "x": 1.10}' }]
    },
    { role: "tool", callId: "call_1", text: '{"order": 12345678901234567890}' }
];

test("the template renders calls and results if it supports them, digit by digit", async (t) => {
    for (const name of ["llama3", "qwen2", "mistral"] as const) {
        const chat = await templateOf(chatTemplates[name]).render(called, { tools });
        const text = textOf(qwen(), chat.tokens, { special: true });
        t.regex(text, /"id": 1374029117403856901, "x": 1\.10/, name);
        t.true(text.includes('{"order": 12345678901234567890}'), name);
    }
});

test("calls keep the template's form if it writes each argument on its own, or if they are no JSON", async (t) => {
    const template = (args: string) =>
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{% for c in m.tool_calls or [] %}" +
        `<f={{ c.function.name }}>${args}</f>{% endfor %}|{% endfor %}`;
    const render = async (args: string, messages: readonly Message[]) =>
        textOf(qwen(), (await templateOf(template(args)).render(messages)).tokens, { special: true });
    const tags = "{% for k, v in c.function.arguments.items() %}<p={{ k }}>{{ v }}</p>{% endfor %}";
    const result = 'tool: {"order": 12345678901234567890}|';
    const about = (calls: string) => `user: Look it up|assistant: ${calls}|${result}`;
    t.is(await render(tags, called), about("<f=look><p=id>1374029117403856901</p><p=x>1.10</p></f>"));
    const broken = called.map(
        (message): Message =>
            message.role === "assistant"
                ? { ...message, calls: [{ ...message.calls[0]!, arguments: '{"id": "1' }] }
                : message
    );
    t.is(await render("{{ c.function.arguments|tojson }}", broken), about('<f=look>"{\\"id\\": \\"1"</f>'));
});

test("numbers in the schemas of tools keep their digits", async (t) => {
    const parameters = {
        type: "object",
        properties: { id: { enum: [new LosslessNumber("12345678901234567890"), 7] } }
    };
    for (const name of ["qwen2", "phi"] as const) {
        const { tokens } = await templateOf(chatTemplates[name]).render(called, {
            tools: [{ name: "look", parameters }]
        });
        t.regex(textOf(qwen(), tokens, { special: true }), /"enum": ?\[12345678901234567890, ?7\]/, name);
    }
});

test("how a model writes calls is read from its template", async (t) => {
    const syntax = async (name: keyof typeof chatTemplates) =>
        (await templateOf(chatTemplates[name]).render(called, { tools })).syntax;
    t.deepEqual(await syntax("qwen2"), {
        begin: '<tool_call>\n{"name": "',
        middle: '", "arguments": ',
        next: '}\n</tool_call>\n<tool_call>\n{"name": "',
        end: "}\n</tool_call>"
    });
    t.deepEqual(await syntax("llama3"), {
        begin: '{"name": "',
        middle: '", "parameters": ',
        next: undefined,
        end: "}"
    });
    const withReasoning = (turn: string) =>
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}" +
        turn +
        "{% endif %}{{ m.content }}{% for c in m.tool_calls or [] %}" +
        '{{ \'<tool_call>{"name": "\' + c.function.name + \'", "arguments": \' + c.function.arguments|tojson }}' +
        "{{ '}</tool_call>' }}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}{{ tools }}" +
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}";
    // the turn begins with reasoning, which a call does not include
    for (const turn of ["", "{{ '<think>\n\n</think>\n\n' }}"])
        t.is(
            (await templateOf(withReasoning(turn)).render(called, { tools })).syntax.begin,
            '<tool_call>{"name": "',
            turn
        );
    // nothing would tell a call from a text
    const bare =
        "{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name + '\n' }}" +
        "{{ c.function.arguments|tojson }}{% endfor %}{% endfor %}{{ tools }}";
    t.is((await templateOf(bare).render(called, { tools })).syntax.begin, "||call: ");
    // its template has no word on tools
    t.is((await syntax("phi")).begin, "||call: ");
    t.deepEqual(await syntax("mistral"), {
        begin: '[TOOL_CALLS] [{"name": "',
        middle: '", "arguments": ',
        next: ', "id": "\u0000"}, {"name": "',
        end: ', "id": "\u0000"}]'
    });
});

test("what a template has no form for becomes text", async (t) => {
    const messages: Message[] = [{ role: "system", text: "Be short." }, ...called];
    for (const name of ["gemma", "phi", "alpaca"] as const) {
        const { tokens } = await templateOf(chatTemplates[name]).render(messages, { tools });
        const text = textOf(qwen(), tokens, { special: true });
        for (const part of [
            "Be short.",
            "Looks",
            "Look it up",
            '||call: look({"id": 1374029117403856901, "x": 1.10})',
            "||result: "
        ])
            t.true(text.includes(part), `${name}: ${part} in ${text}`);
    }
});

test("a result stays in the model's turn if the template writes a tool's message as it is", async (t) => {
    const template =
        "{% for m in messages %}{% if m.role == 'user' %}{{ '\nQuestion: ' + m.content }}" +
        "{% elif m.role == 'assistant' %}{{ '\nAnswer: ' + m.content }}{% else %}{{ m.content }}{% endif %}" +
        "{% endfor %}{% if add_generation_prompt %}{{ '\nAnswer:' }}{% endif %}";
    const { tokens } = await templateOf(template).render(called);
    t.is(
        textOf(qwen(), tokens, { special: true }),
        '\nQuestion: Look it up\nAnswer: ||call: look({"id": 1374029117403856901, "x": 1.10})' +
            '\n||result: {"order": 12345678901234567890}\nAnswer:'
    );
});

test("the token that a template ends a turn with ends the answer", async (t) => {
    const stops = async (name: keyof typeof chatTemplates) =>
        [...(await templateOf(chatTemplates[name]).render(chatOf(["x"]))).stopTokens].map((token) =>
            textOf(qwen(), [token], { special: true })
        );
    t.deepEqual(await stops("qwen2"), ["<|im_end|>"]);
    t.deepEqual(await stops("alpaca"), []);
});

test("a template that refuses its messages says why", async (t) => {
    const template = templateOf("{{ raise_exception('no ' + messages[0].role) }}");
    const error = await t.throwsAsync(template.render(chatOf(["x"])), { instanceOf: ChatRefusedError });
    t.regex(error.message, /no user/);
});

test("a template that cannot be parsed is named as the reason, with the place", async (t) => {
    const said = async (source: string) => {
        const template = templateOf(source);
        return (await t.throwsAsync(template.render(chatOf(["x"])), { instanceOf: ChatRefusedError })).message;
    };
    const text = "{% for m in messages %}\n{{ m.content }}\n{% endfor %}";
    t.regex(await said(`${text}\n{% fo x %}\n${text}`), /cannot be parsed: in line 4, at "{% fo x %}": .*fo/);
    t.regex(await said(`{{ 1 }}\n{{ 2 + }}${text}`), /cannot be parsed: in line 2, at "{{ 2 \+ }}": /);
    t.regex(await said("a\n{% if true %}\nb"), /cannot be parsed: at its end, line 3: a tag or a block is not closed/);
});

test("a template that does not end is ended, and the next one is rendered", async (t) => {
    const renderer = new TemplateRenderer(2000);
    t.teardown(() => renderer.dispose());
    const endless = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}";
    let turns = 0;
    const timer = setInterval(() => turns++, 10);
    const [first, second] = await Promise.allSettled([
        renderer.render(endless, {}),
        renderer.render("{{ a }}", { a: 1 })
    ]);
    clearInterval(timer);
    t.is(first.status, "rejected");
    t.deepEqual(second, { status: "fulfilled", value: "1" });
    t.true(turns >= 2, `${turns} turns for others`);
    const template = new ChatTemplate(qwen(), { source: endless, timeoutMs: 200 });
    t.teardown(() => template.dispose());
    let attempts = 0;
    const { render, renderChat } = TemplateRenderer.prototype;
    TemplateRenderer.prototype.render = function (source, ...rest) {
        if (source === endless) attempts++;
        return render.call(this, source, ...rest);
    };
    TemplateRenderer.prototype.renderChat = function (source, ...rest) {
        if (source === endless) attempts++;
        return renderChat.call(this, source, ...rest);
    };
    t.teardown(() => Object.assign(TemplateRenderer.prototype, { render, renderChat }));
    const error = await t.throwsAsync(template.render(chatOf(["x"])), { instanceOf: TemplateLimitError });
    t.regex(error.message, /did not finish within 200 ms/);
    // one attempt, and no more to find out what it supports
    t.is(attempts, 1);
});

test("a chat with the package's model has the form that it was trained with", async (t) => {
    const model = await llama.loadModel({ modelPath: recallModelPath, vocabOnly: true });
    t.teardown(() => model.dispose());
    const template = new ChatTemplate(model);
    t.teardown(() => template.dispose());
    const form = await recallQuestionForm();
    const question = "What is in the box?";
    const trained = form.replace("{}", question);
    t.regex(trained, /^\nQuestion: .*\nAnswer:$/);
    const { tokens } = await template.render([{ role: "user", text: question }]);
    t.deepEqual(tokens, model.tokenize(trained));
    const later = await template.render([
        { role: "system", text: "The box holds a lamp." },
        { role: "user", text: question },
        { role: "assistant", text: " a lamp", calls: [] },
        { role: "user", text: "And where?" }
    ]);
    const text = `The box holds a lamp.${trained} a lamp${form.replace("{}", "And where?")}`;
    t.is(textOf(model, later.tokens), text);
});

test("a template's dates and line breaks are those of Jinja in Python", async (t) => {
    const renderer = new TemplateRenderer(5000);
    t.teardown(() => renderer.dispose());
    const today = () => `${new Date().toLocaleDateString("en-US", { weekday: "long" })} ${new Date().getDate()}`;
    const before = today();
    const date = await renderer.render("{{ strftime_now('%A %-d') }}", {});
    t.true([before, today()].includes(date), date);
    t.is(await renderer.render("{% if true %}\r\na\r\nb\r\n{% endif %}\r\nc\rd", {}), "a\nb\nc\nd");
});

test("undefined values are empty in loops and filters, as in Python", async (t) => {
    const renderer = new TemplateRenderer(5000);
    t.teardown(() => renderer.dispose());
    const m = { role: "user", content: "c", calls: [{ id: 1 }, { id: 0 }] };
    // what Python's Jinja renders
    for (const [template, expected] of [
        ["{% for c in m.tool_calls %}a{% else %}none{% endfor %}", "none"],
        ["{% for c in m.tool_calls if c.id %}a{% endfor %}!", "!"],
        ["{% for c in m.calls if c.id %}{{ c.id }}{% endfor %}", "1"],
        ["{% for k, v in m.args|items %}a{% endfor %}{{ m.args|length }}", "0"],
        ["{{ m.args|trim }}{{ m.args|replace('a', 'b') }}{{ (m.args|trim ~ 'x')|upper }}", "X"],
        ["{{ m.tool_calls|selectattr('id')|list|length }}{{ m.calls|map(attribute='id')|join(',') }}", "01,0"],
        ["{% macro f(x) %}{% for y in x.nope %}a{% endfor %}{{ x.content|trim }}{% endmacro %}{{ f(m) }}", "c"],
        ["{{ m.nope|default('d')|upper }}{{ m.nope is defined }}", "DFalse"]
    ] as const)
        t.is(await renderer.render(template, { m }), expected, template);
});
