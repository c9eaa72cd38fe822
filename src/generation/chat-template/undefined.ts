import { Template } from "@huggingface/jinja";

type Program = Template["parsed"];
type Node = Record<string, unknown> & { type: string };

/** Filters by what they take an undefined value for. */
const filters: Readonly<Record<string, string>> = {
    first: "[]",
    items: "{}",
    join: "[]",
    last: "[]",
    length: "[]",
    list: "[]",
    lower: "''",
    map: "[]",
    rejectattr: "[]",
    replace: "''",
    reverse: "[]",
    selectattr: "[]",
    sort: "[]",
    trim: "''",
    upper: "''"
};

/**
 * Lets undefined values be empty ones in loops and filters, as they are in Python: `{% for call in message.tool_calls
 * %}` does nothing for a message without calls. The library throws an error.
 */
export function acceptUndefined(program: Program): void {
    const nodes: unknown[] = [program];
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
        if (typeof node !== "object" || node === null) continue;
        if (isNode(node)) {
            if (node.type === "For") acceptInLoop(node);
            const fallback = node.type === "FilterExpression" ? filters[nameOf(node.filter)] : undefined;
            if (fallback !== undefined) node.operand = either(node.operand, fallback);
        }
        nodes.push(...(node instanceof Map ? [...node].flat() : Object.values(node)));
    }
}

function acceptInLoop(loop: Node): void {
    const { iterable } = loop;
    if (isNode(iterable) && iterable.type === "SelectExpression") iterable.lhs = either(iterable.lhs, "[]");
    else loop.iterable = either(iterable, "[]");
}

/** `expression or fallback`, which computes the expression once. */
function either(expression: unknown, fallback: string): Node {
    const [statement] = new Template(`{{ x or ${fallback} }}`).parsed.body;
    return Object.assign(statement as unknown as Node, { left: expression });
}

function nameOf(filter: unknown): string {
    if (!isNode(filter)) return "";
    return filter.type === "CallExpression" ? nameOf(filter.callee) : String(filter.value);
}

function isNode(value: unknown): value is Node {
    return typeof value === "object" && value !== null && "type" in value;
}
