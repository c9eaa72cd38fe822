import type { Scripted } from "./scripted-model.js";

/** The text that {@link assistantModel} answers with. */
export const answerText = "The lamp is in the box.";

/** The call that {@link assistantModel} writes first if it has tools. */
export const assistantCall = { name: "find", arguments: { where: "box" } } as const;

/**
 * A model that calls `find` if it has tools and no result yet, and otherwise answers with one sentence. Where a grammar
 * leaves it a choice, its strings are `x` and its numbers short.
 */
export const assistantModel: Scripted = {
    special: ["<|system|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|caller|>"],
    template:
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for call in m.tool_calls or [] %}" +
        '<tool_call>\n{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n' +
        "</tool_call>{% endfor %}{{ eos_token }}{% endfor %}" +
        "{% if tools %}<|system|>{{ tools | tojson }}{{ eos_token }}{% endif %}{% if add_generation_prompt %}" +
        "{% if tools and messages[-1].role != 'tool' %}<|caller|>{% else %}<|assistant|>{% endif %}{% endif %}",
    script: [
        ["<|assistant|>", "The", " lamp", " is", " in", " the", " box", ".", "<eos>"],
        [
            "<|caller|>",
            "<tool_call>\n",
            '{"name": "find", "arguments": ',
            '{"where": "box"}',
            "}\n</tool_call>",
            "<eos>"
        ],
        ['"', "x", '"']
    ]
};

/** JSON schema of the arguments of `find`. */
export const findParameters = {
    type: "object",
    properties: { where: { type: "string", enum: ["box", "shelf"] } },
    required: ["where"],
    additionalProperties: false
};
