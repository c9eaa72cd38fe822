import { allowedTools, chooseTools, type GivenTool } from "../../chat/choose-tools.js";
import type { Format } from "../../engine/grammar.js";
import type { ToolChoice } from "../../engine/tools.js";
import { badParameter } from "../../errors.js";
import type { ResponseBody, ResponseRequest } from "../../schemas/responses.js";

type GivenFunction = Extract<NonNullable<ResponseRequest["tools"]>[number], { type: "function" }>;

const isFunction = (tool: { type: string }): tool is GivenFunction => tool.type === "function";

/**
 * The functions that an answer may call.
 * @param note gets a line for each tool that is no function
 * @throws {ApiError} if the choice names no function
 */
export function toolsOf(
    { tools = [], tool_choice: choice = "auto", parallel_tool_calls: parallel }: ResponseRequest,
    note: (text: string) => void
): ToolChoice | undefined {
    const given = tools.flatMap((tool, i): GivenTool[] => {
        if (isFunction(tool)) {
            const { name, description, parameters } = tool;
            return [{ tool: { name, description, parameters }, param: `tools.${i}` }];
        }
        note(`tools.${i}, of type ${tool.type}, was left out: this server has functions only`);
        return [];
    });
    const schema = "parameters";
    if (typeof choice === "string") {
        if (choice === "required" && given.length === 0)
            throw badParameter("tool_choice", "`tool_choice` asks for a call, and `tools` has no function");
        return chooseTools(given, { choice, choiceParam: "tool_choice", parallel, schema });
    }
    if (choice.type === "function")
        return chooseTools(given, { choice: { name: choice.name }, choiceParam: "tool_choice.name", parallel, schema });
    const names = choice.tools.map(({ name }) => name);
    const allowed = allowedTools(given, names, (i) => `tool_choice.tools.${i}.name`);
    return chooseTools(allowed, { choice: choice.mode, choiceParam: "tool_choice", parallel, schema });
}

/** The tools as an answer shows them. */
export function describeTools({ tools = [] }: ResponseRequest): ResponseBody["tools"] {
    return tools.filter(isFunction).map(({ name, description, parameters, strict }) => ({
        type: "function",
        name,
        description: description ?? null,
        parameters: parameters ?? {},
        strict: strict ?? true
    }));
}

/** The form that an answer's text must have; undefined for any text. */
export function formatOf({ text }: ResponseRequest): Format | undefined {
    const format = text?.format;
    if (format === undefined || format.type === "text") return undefined;
    if (format.type === "json_object") return { type: "json_object" };
    return { type: "json_schema", schema: format.schema ?? {}, param: "text.format.schema" };
}
