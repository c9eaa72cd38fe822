"""Renders chat templates with Python's Jinja, configured as transformers configures it.

Needs jinja2 3.1.6 and the templates that llama.cpp's sources contain:
    python test/golden/make_templates.py native/build/llama.cpp/models/templates
"""

import hashlib
import itertools
import json
import random
import sys
from pathlib import Path

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

now = "26 Jul 2024"


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks what an assistant wrote, and writes it."""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(["name:endgeneration"], drop_needle=True)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
)
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = lambda _: now

tool = {
    "type": "function",
    "function": {
        "name": "find",
        "description": 'Looks — for "é".',
        "parameters": {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": {"type": "string"}},
                "n": {"type": ["integer", "null"], "default": None, "minimum": 1.5, "x": True},
                "b": {"type": "boolean", "default": False, "enum": [True, False]},
            },
            "required": ["items"],
            "additionalProperties": False,
        },
    },
}
arguments = {"items": ["a", "b"], "n": None, "b": True, "f": 1.5, "t": " x\n", "o": {"k": False}}


def chats():
    yield [{"role": "user", "content": " Hi \n"}]
    yield [
        {"role": "system", "content": "Be \u00a0brief.\x1c"},
        {"role": "user", "content": "\ufeffHi"},
        {"role": "assistant", "content": "<think>\n hm \n</think>\n\n  Hello"},
        {"role": "user", "content": "more"},
    ]
    for form, content in itertools.product((arguments, json.dumps(arguments)), ("", None, "Wait.")):
        call = {"id": "abc123def", "type": "function", "function": {"name": "find", "arguments": form}}
        called = [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": content, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "abc123def", "name": "find", "content": ' {"a": true} '},
        ]
        yield called
        yield [*called, {"role": "assistant", "content": "So."}, {"role": "user", "content": "and?"}]
    yield [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    yield [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b", "reasoning_content": "\n r \n"},
        {"role": "user", "content": "c"},
    ]
    yield [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}]


def requests():
    for messages, tools, more in itertools.product(chats(), (None, [tool]), ({}, {"enable_thinking": False})):
        given = {} if tools is None else {"tools": tools}
        yield {
            "messages": messages,
            "add_generation_prompt": True,
            "bos_token": "<s>",
            "eos_token": "</s>",
            **given,
            **more,
        }


variables = {
    "s": "  Hello wörld\n",
    "e": "",
    "q": "it's \"q\" \\ \n\t\u00a0\u200b\u2028 é 😀",
    "n": None,
    "t": True,
    "f": False,
    "i": 3,
    "neg": -7,
    "x": 1.5,
    "l": [1, "a", None, True, [2.5, {"k": False}]],
    "el": [],
    "d": {"b": 1, "a": "x", "items": [1], "C": None},
    "ed": {},
    "strs": ["b", "A", "c", "a"],
    "nums": [3, 1, 2],
    "ms": [
        {"role": "user", "content": "Hi", "tool_calls": None},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]},
        {"role": "tool", "content": "\ufeff r \x1c"},
    ],
}
values = [
    *variables,
    *("u d.b d['items'] ms[0].role ms[-1]['content'] l[1:] l[-2:] s[1:4] q[0] q[-1] l[::-1] s[::-1]").split(),
    *("1 2.0 1e-7|float 'x' (1,'a') [] {} {'a':1,'b':[true,none]} {1:2} 'a\\nb' '\\'' True none").split(),
    *("7//2 -7//2 7%3 -7%3 7/2 2**3 1+2.0 'a'~1~none~true 'ab'*2 [1]*2 0.1+0.2").split(),
    *("(i if n else e)", "(u if false)", "not n", "namespace(a=1)", "100000000.0 * 100000000.0"),
]
filters = """tojson|tojson(indent=2)|tojson(indent=0)|tojson(ensure_ascii=True)|tojson(true)|tojson(sort_keys=true)
tojson(separators=(',', ':'))|string|trim|length|list|first|last|join|join(', ')|upper|lower|capitalize|title
default('D')|default('D', true)|d('D')|int|float|abs|sort|sort(reverse=true)|unique,list|items,list|dictsort|safe
indent|indent(2, true)|sum|round|max|min|map('upper'),list|map('string'),join(',')|select,list|reject('none'),list
map(attribute='role'),list|selectattr('role','equalto','user'),list,length|rejectattr('tool_calls'),list,length
selectattr('x','undefined'),list,length|trim('x')|string,length|replace('a','b')"""
tests = "defined undefined none string number integer float boolean mapping iterable sequence true false lower upper"
methods = """strip() strip('\\n') lstrip() rstrip() lstrip('\\n_') rstrip('d\\n') split() split('l') split('_',1)
split(none,1) split('l',maxsplit=1) rsplit('l',1) splitlines() upper() lower() title() capitalize() startswith('_') find('l')
endswith('\\n') startswith(('a','_')) replace('l','L') replace('l','L',1) rfind('l') count('l') isdigit() isalpha()
join(['a','b']) removeprefix('_') removesuffix('\\n') format(1) get('a') get('zz') get('zz',5) items()|list keys()|list
values()|list append(1) pop('a')""".replace("_", " ")
operators = "== != < > <= >= + - * / // % ~".split() + ["in", "not in", "and", "or"]
statements = r"""{% for x in nums %}{% if x == 1 %}{% continue %}{% endif %}a{{ x }}{% endfor %}
{% for x in nums %}a{% if x == 1 %}{% break %}{% endif %}b{% endfor %}
{% for x in nums %}a{% continue %}b{% else %}E{% endfor %}
{% for x in nums %}{% if x == 3 %}{% set g = 1 %}{% endif %}{{ g }}{% endfor %}{{ g }}
{% set g = 0 %}{% for x in nums %}{{ g }}{% set g = x %}{{ g }}{% endfor %}{{ g }}
{% set ns = namespace(a=1, b='x') %}{% for x in nums %}{% set ns.a = ns.a + x %}{% endfor %}{{ ns.a }}{{ ns.c }}
{% macro m(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}{{ m(1, c=3) }}{{ m(1, 2, 3) }}{{ m() }}
{% macro m() %}{{ y }}{% endmacro %}{% for y in nums %}{{ m() }}{% endfor %}
{% set y = 5 %}{% macro m() %}{{ y }}{% endmacro %}{% set y = 6 %}{{ m() }}
{% macro m() %}{{ caller() }}!{% endmacro %}{% call m() %}hi{% endcall %}
{% macro m(x) %}{{ caller(x) }}!{% endmacro %}{% call(y) m(3) %}hi{{ y }}{% endcall %}
{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(3) }}
{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}
{% for k, v in d|dictsort %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}
{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}{% for c in 'aé😀' %}{{ c }},{% endfor %}
{% for x in nums if x > 1 %}{{ loop.index }}{{ x }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{% endfor %}
{% for x in nums %}{{ loop.first }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.cycle('a', 'b') }}{% endfor %}
{% for x in nums %}{% for y in nums %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set z %}a{{ i }}b{% endset %}[{{ z }}]{{ z|length }}
{% filter upper %}a{{ s }}{% endfilter %}a{# c #}b{% if t %}a{% elif f %}b{% endif %}{{ 'a' if f }}
{% for k, v in ms[1].tool_calls[0].function.arguments|items %}<{{ k }}>{{ v }}</{{ k }}>{% endfor %}
{{ 'x' in d }}{{ none in l }}{{ [2.5] in [[2.5]] }}{{ 'el' in 'Hello' }}{{ 1 == true }}{{ '1' == 1 }}
{{ [] == [] }}{{ {} == {} }}{{ none == u }}{{ 1 == 1.0 }}{{ (1, 2) == [1, 2] }}{{ 'ab' < 'b' }}
{{ 1.0 }}{{ 100.0 }}{{ 0.1 + 0.2 }}{{ 123456789012345 }}{{ 1.0 / 3 }}{{ dict(a=1, b='x') }}
{{ '"' | safe + '"' }}{{ 'a' | safe + '<' + 'b' }}{{ ('a' | safe) ~ '<' }}
{{ '{} {1}' }}{{ '{} {}'.format(1, none) }}{{ '{a}{0}'.format('x', a=[1]) }}
{{ 5 in {5: 1} }}{{ {5: 1}[5] }}{{ {5: {'a': 1}, 2: 3} | dictsort }}{% for k in {5: 1} %}{{ k + 1 }}{% endfor %}
{{ '3'|int + 1 }}{{ '3.7'|int }}{{ 'x'|int }}{{ 'x'|int(5) }}{{ '3.7'|float }}{{ 3.7|int }}{{ -3.7|int }}
{{ 2.5|round }}{{ 3|round }}{{ "it's"|title }}{{ 'aBC'|capitalize }}{{ true + 1 }}{{ l[10] }}{{ l.1 }}
{{ ms|sort(attribute='role')|map(attribute='role')|list }}{{ ['😀', 'ﾮ']|sort }}
{{ raise_exception('no') }}
{{ d.zz }}{{ d.zz is defined }}{{ d.items is defined }}{{ d['items'] }}{{ d.get('items') }}""".split("\n")


def snippets():
    chance = random.Random(1)
    yield from statements
    for value in values:
        yield "{{ %s }}" % value
        yield "{%% for y in %s %%}[{{ y }}:{{ loop.index }}{{ loop.last }}]{%% else %%}E{%% endfor %%}" % value
        yield "{%% set v = %s %%}{{ v }}|{{ [v] }}|{{ {'k': v} }}|{{ v ~ '' }}{%% if v %%}T{%% endif %%}" % value
        more = ["(%s) | %s" % (value, f.replace(",list", "|list").replace(",join", "|join").replace(",length", "|length"))
                for f in filters.replace("\n", "|").split("|")]
        more += ["(%s) is %s" % (value, test) for test in tests.split()]
        more += ["(%s).%s" % (value, method) for method in methods.split("\n") for method in split_methods(method)]
        more += ["(%s) %s (%s)" % (value, operator, other) for operator in operators for other in values]
        yield from ("{{ %s }}" % each for each in chance.sample(more, 40))


def split_methods(line):
    """Arguments may contain spaces, so a method ends with its parenthesis."""
    parts, depth, start = [], 0, 0
    for at, character in enumerate(line):
        depth += (character == "(") - (character == ")")
        if character == " " and depth == 0:
            parts.append(line[start:at])
            start = at + 1
    return [*parts, line[start:]]


def render(template, given):
    try:
        return template.render(**given)
    except Exception:
        return None


def compile_template(source):
    try:
        return environment.from_string(source)
    except jinja2.exceptions.TemplateSyntaxError:
        return None


if __name__ == "__main__":
    given = list(requests())
    real = {}
    for file in sorted(Path(sys.argv[1]).glob("*.jinja")):
        template = environment.from_string(file.read_text(encoding="utf-8"))
        texts = [render(template, each) for each in given]
        written = "\0".join(text for text in texts if text is not None)
        real[file.name] = {
            "rendered": "".join("0" if text is None else "1" for text in texts),
            "sha256": hashlib.sha256(written.encode()).hexdigest(),
        }
    cases = []
    for source in dict.fromkeys(snippets()):
        template = compile_template(source)
        text = None if template is None else render(template, variables)
        if text is not None and " object at 0x" not in text:
            cases.append([source, text])
    result = {"now": now, "variables": variables, "snippets": cases, "requests": given, "real": real}
    out = Path(__file__).parent / "templates.json"
    lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in result.items()]
    out.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
