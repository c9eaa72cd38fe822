import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";
import test from "ava";
import type { Token } from "../../plugin/index.js";
import { Markers } from "../../src/generation/chat-template/Markers.js";
import { parseTemplate } from "../../src/generation/chat-template/parse-template.js";
import { renderTemplate } from "../../src/generation/chat-template/python/render-template.js";
import { renderChat } from "../../src/generation/chat-template/render-chat.js";
import { repositoryRoot } from "../helpers/repository.js";

type Variables = Readonly<Record<string, unknown>>;

/** What Python's Jinja renders: `test/golden/make_templates.py`. */
const golden = JSON.parse(readFileSync(path.join(repositoryRoot, "test", "golden", "templates.json"), "utf8")) as {
    now: string;
    variables: Variables;
    snippets: [source: string, text: string][];
    requests: Variables[];
    real: Record<string, { rendered: string; sha256: string }>;
};
const render = (source: string, variables: Variables = golden.variables) =>
    renderTemplate(parseTemplate(source), variables);

/** Python names the kind of a value that is read piece by piece; here it is a list. */
const lazy = /range\(|\.(items|keys|values)\(\)|^\{\{ \(u\) is callable|<built-in/;
/** Syntax, filters and operators that the library does not have; each is named. */
const refusals =
    /^Unknown \w+ (filter|statement)|Parser Error|Unexpected (token|escaped)|format with `%`|cannot odd|Cannot apply filter|there is no test|have no order|`\*` is not possible|Cannot call/;

test("expressions and statements have the texts of Python's Jinja", (t) => {
    let [same, refused] = [0, 0];
    for (const [source, expected] of golden.snippets) {
        if (lazy.test(source) && !source.includes("|list")) continue;
        let text: string;
        try {
            text = render(source);
        } catch (error) {
            t.regex((error as Error).message, refusals, source);
            refused++;
            continue;
        }
        t.is(text, expected, source);
        same++;
    }
    t.log(`${same} equal, ${refused} refused by name`);
    t.true(same > 1000 && refused < 100, `${same}, ${refused}`);
});

test("real templates have the texts of Python's Jinja", (t) => {
    const folder = path.join(repositoryRoot, "native", "build", "llama.cpp", "models", "templates");
    let count = 0;
    for (const [file, { rendered, sha256 }] of Object.entries(golden.real)) {
        const template = parseTemplate(readFileSync(path.join(folder, file), "utf8"));
        const texts = golden.requests
            .filter((_, i) => rendered[i] === "1")
            .map((request) => renderTemplate(template, { ...request, strftime_now: () => golden.now }));
        t.is(createHash("sha256").update(texts.join("\0")).digest("hex"), sha256, file);
        count += texts.length;
    }
    t.log(`${count} texts`);
    t.true(count > 3000);
});

/** What Python's Jinja 3.1.6 makes of methods, filters and tests that the golden snippets do not use. */
const methods: readonly (readonly [source: string, text: string])[] = [
    ["{{ 'a,b,c'.rsplit(',', 1) }}", "['a,b', 'c']"],
    ["{{ 'a b  c'.rsplit(None, 1) }}", "['a b', 'c']"],
    ["{{ s.splitlines() }}", "['one two', 'two three']"],
    ["{{ 'mY nAME'.capitalize() }}", "My name"],
    ["{{ 'unhappy'.removeprefix('un') }}{{ 'x'.removeprefix('un') }}", "happyx"],
    ["{{ s.rfind('two') }} {{ s.rfind('four') }}", "8 -1"],
    ["{{ s.count('two') }}{{ 'ab'.count('') }}", "23"],
    ["{{ '-'.join(['a', 'b']) }}", "a-b"],
    ["{{ '12'.isdigit() }}{{ '1a'.isdigit() }}", "TrueFalse"],
    ["{{ 'a1'.isalnum() }}{{ 'a-1'.isalnum() }}", "TrueFalse"],
    ["{{ ' \t'.isspace() }}{{ ''.isspace() }}", "TrueFalse"],
    ["{{ [3, 1, 2]|last }}", "2"],
    ["{{ [3, 1, 2]|count }}", "3"],
    ["{{ 'añ😀'|reverse }}{{ [1, 2]|reverse|list }}", "😀ña[2, 1]"],
    ["{{ [1, 2.5]|sum }} {{ [1, 2]|sum }}", "3.5 3"],
    ["{{ l|selectattr('k', 'ne', 1)|list }}", "[{'k': 2}, {'k': None}]"],
    ["{{ l|selectattr('k', '!=', 2)|map(attribute='k')|list }}", "[1, None]"],
    ["{{ l|rejectattr('k', 'in', [1, 2])|list }}", "[{'k': None}]"],
    ["{{ d.keys()|list }}", "['b', 'a']"],
    ["{{ d.values()|list }}", "[1, [2]]"],
    ["{{ d.get('z', 'none') }}{{ d.get('z') }}", "noneNone"]
];

test("methods of texts and dicts, filters and tests have the results of Python's Jinja", (t) => {
    const variables = { d: { b: 1, a: [2] }, l: [{ k: 1 }, { k: 2 }, { k: null }], s: "one two\ntwo three" };
    for (const [source, text] of methods) t.is(render(source, variables), text, source);
});

test("what Python refuses is refused", (t) => {
    for (const [source, reason] of [
        ["{{ 'a' + 1 }}", /`\+` is not possible between str and int/],
        ["{{ n + 'a' }}", /`\+` is not possible between None and str/],
        ["{{ 1 / 0 }}", /division by zero/],
        ["{{ 'a' in n }}", /`in` is not possible between str and None/],
        ["{{ u + 'a' }}", /an undefined value/],
        ["{{ u|tojson }}", /cannot be written as JSON/],
        ["{% for x in 5 %}{% endfor %}", /int is not iterable/],
        ["{% for a, b in [[1]] %}{% endfor %}", /2 values from an item that has 1/],
        ["{{ ['a', 1]|sort }}", /no order/],
        ["{{ raise_exception('the reason') }}", /^the reason$/],
        ["{{ s|nope }}", /nope/],
        ["{{ s is nope }}", /there is no test `nope`/],
        ["{% set _ = l.append(1) %}", /not a function/]
    ] as const)
        t.throws(() => render(source), { message: reason }, source);
});

test("a template finds keys of calls and tools that are whole numbers, in their order", (t) => {
    const template = parseTemplate(
        "{% for tool in tools %}{% for name in tool.function.parameters.properties %}{{ name }} {{ name | length }}" +
            "{{ ' required' if name in tool.function.parameters.required }};{% endfor %}{% endfor %}" +
            "{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments['10'] }} " +
            "{{ c.function.arguments | tojson }}{% endfor %}{% endfor %}"
    );
    const markers = new Markers(new Map([["<end>", 1 as Token]]), () => ({ before: false, after: false }));
    const rendered = (json: string) =>
        renderChat(
            (variables) => renderTemplate(template, variables),
            {
                messages: [
                    {
                        role: "assistant",
                        content: "",
                        tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: json } }]
                    }
                ],
                variables: {},
                tools: [
                    {
                        name: "f",
                        description: "",
                        parameters: '{"properties": {"b": {}, "10": {}, "9": {}}, "required": ["b", "10"]}'
                    }
                ],
                parsesArguments: true,
                suffix: ""
            },
            markers
        );
    // a name of a special token is text, for which the chat is rendered again
    for (const found of ["found", "<end>"]) {
        const json = `{"b": 12345678901234567890, "10": "${found}", "9": [{"1": 2}]}`;
        t.deepEqual(rendered(json), [{ text: `b 1 required;10 2 required;9 1;${found} ${json}` }]);
    }
});
