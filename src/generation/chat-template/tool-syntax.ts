/**
 * How a model writes calls: `begin`, a name, `middle`, and the arguments as JSON. Then follows `next` and another name,
 * or `end`.
 */
export interface ToolSyntax {
    readonly begin: string;
    readonly middle: string;
    /** Undefined if a turn has one call only. */
    readonly next: string | undefined;
    readonly end: string;
}

/** The syntax for models whose template has none; it is node-llama-cpp's default. */
export const plainSyntax: ToolSyntax = { begin: "||call: ", middle: "(", next: ")\n||call: ", end: ")" };

/** Ids of the probe's calls. Some templates require nine letters and digits. */
export const probeIds = ["callprob1", "callprob2"] as const;
const probeNames = ["armt_first_probe", "armt_second_probe"] as const;

/** Calls to render, to see how a template writes them. */
export function probeCalls(count: number, asText: boolean) {
    return probeNames.slice(0, count).map((name, i) => {
        const value = { [`${name}_key`]: `${name}_value` };
        return {
            id: probeIds[i]!,
            type: "function" as const,
            function: { name, arguments: asText ? JSON.stringify(value) : value }
        };
    });
}

/** Chats that show how a template writes calls. */
export interface ToolProbe {
    /** The chat up to the model's turn. */
    begin: string;
    /** The chat up to the text of the model's turn; undefined if it is not in the rendered chat. */
    beforeText: string | undefined;
    /** The chat with one call. */
    one: string;
    /** The chat with two calls; undefined if the template refuses them. */
    two: string | undefined;
    /** The text after an assistant's message. */
    afterText: string;
}

/**
 * Infers from rendered chats how a template writes calls.
 * @returns undefined if the template does not write the arguments as JSON after the name, or writes nothing before it
 */
export function readToolSyntax({ begin, beforeText, one, two, afterText }: ToolProbe): ToolSyntax | undefined {
    const start = startOfCall(one, begin, beforeText);
    const [first] = findCalls(one, start, 1) ?? [];
    // text and calls could not be told apart
    if (first === undefined || one.slice(start, first.nameAt).trim() === "") return undefined;
    const end = one.slice(first.end);
    const syntax = {
        begin: one.slice(start, first.nameAt),
        middle: first.middle,
        end: withoutIds(end.endsWith(afterText) ? end.slice(0, end.length - afterText.length) : end).trimEnd()
    };
    // an id before the arguments would have to be known in advance
    if (probeIds.some((id) => syntax.begin.includes(id) || syntax.middle.includes(id))) return undefined;
    const calls = two === undefined ? undefined : findCalls(two, start, 2);
    if (calls === undefined) return { ...syntax, next: undefined };
    const [a, b] = calls as [FoundCall, FoundCall];
    const isRegular = b.middle === first.middle && two!.slice(start, a.nameAt) === syntax.begin;
    return { ...syntax, next: isRegular ? withoutIds(two!.slice(a.end, b.nameAt)) : undefined };
}

/** Placeholder for the id of a call, which the model chooses. */
export const idPlace = "\u0000";

function withoutIds(text: string): string {
    return probeIds.reduce((left, id) => left.replace(id, idPlace), text);
}

type FoundCall = { readonly nameAt: number; readonly middle: string; readonly end: number };

function findCalls(text: string, start: number, count: number): FoundCall[] | undefined {
    const calls: FoundCall[] = [];
    let from = start;
    for (const name of probeNames.slice(0, count)) {
        const nameAt = text.indexOf(name, from);
        const argumentsAt = text.indexOf("{", nameAt + name.length);
        if (nameAt < 0 || argumentsAt < 0) return undefined;
        // the name and the arguments may be in the same object
        const end = endOfJson(text, argumentsAt);
        const value = end === undefined ? undefined : parse(text.slice(argumentsAt, end));
        if (value?.[`${name}_key`] !== `${name}_value`) return undefined;
        calls.push({ nameAt, middle: text.slice(nameAt + name.length, argumentsAt), end: end! });
        from = end!;
    }
    return calls;
}

function parse(json: string): Record<string, unknown> | undefined {
    try {
        return JSON.parse(json) as Record<string, unknown>;
    } catch {
        return undefined;
    }
}

/** The end of the JSON object or array at an offset; undefined if it is incomplete. */
export function endOfJson(text: string, at: number): number | undefined {
    let depth = 0;
    let inString = false;
    for (let i = at; i < text.length; i++) {
        const character = text[i]!;
        if (inString) {
            if (character === "\\") i++;
            else if (character === '"') inString = false;
        } else if (character === '"') inString = true;
        else if (character === "{" || character === "[") depth++;
        else if ((character === "}" || character === "]") && --depth === 0) return i + 1;
    }
    return undefined;
}

/**
 * Where a call begins. The model's turn may begin in another way than with a call: with reasoning, for example. Then
 * the chat with a text shows which part precedes both.
 */
function startOfCall(one: string, begin: string, beforeText: string | undefined): number {
    if (beforeText !== undefined && one.startsWith(beforeText)) return beforeText.length;
    const length = Math.max(commonStart(begin, one), commonStart(beforeText ?? "", one));
    // two different markers may begin alike
    return one.slice(0, length).replace(/[<[{][^\s<>[\]{}]*$/, "").length;
}

function commonStart(a: string, b: string): number {
    let length = 0;
    while (length < a.length && a[length] === b[length]) length++;
    return length;
}
