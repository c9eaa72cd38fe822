import type { Tool } from "../../generation/chat-template/messages.js";
import { sizeOf } from "../engine/json-schema/size-of.js";
import type { ToolChoice } from "../engine/tools.js";
import { badParameter } from "../errors.js";

/** A function of a request, and the parameter that describes it. */
export interface GivenTool {
    readonly tool: Tool;
    readonly param: string;
}

export interface ToolChoiceOptions {
    /** Whether a call must, may or must not be written, or the function to call. Default: `auto`. */
    choice?: "auto" | "required" | "none" | { readonly name: string };
    /** Parameter of the request with the name of the function to call, for errors. */
    choiceParam: string;
    /** Whether one turn may contain several calls. Default: `true`. */
    parallel?: boolean;
    /** Key of a function's schema in the request, for errors. */
    schema: string;
}

/**
 * The tools that a request allows of those that it has.
 * @param names their names, in the order of the request
 * @param paramOf the parameter with the name at an index, for errors
 * @throws {ApiError} if a tool of this name is missing
 */
export function allowedTools(
    given: readonly GivenTool[],
    names: readonly string[],
    paramOf: (index: number) => string
): GivenTool[] {
    return names.map((name, i) => {
        const found = given.find(({ tool }) => tool.name === name);
        if (found === undefined) throw badParameter(paramOf(i), "`tools` has no function of this name");
        return found;
    });
}

/** Size of all tools, which is that of a prompt of a quarter of a million tokens. Unit: UTF-16 code units. */
const maxToolsSize = 2 ** 20;

/**
 * The tools that an answer may call; undefined if there are none.
 * @throws {ApiError} if two tools have the same name, if they are too long, or if the chosen tool is missing
 */
export function chooseTools(
    given: readonly GivenTool[],
    { choice = "auto", choiceParam, parallel = true, schema }: ToolChoiceOptions
): ToolChoice | undefined {
    const names = new Set<string>();
    for (const { tool, param } of given) {
        if (names.has(tool.name)) throw badParameter(`${param}.name`, "two tools have the same name");
        names.add(tool.name);
    }
    if (given.length === 0 || choice === "none") return undefined;
    const described = given.map(({ tool }) => tool);
    if (sizeOf(described, maxToolsSize) > maxToolsSize)
        throw badParameter("tools", `\`tools\` has more than ${maxToolsSize} characters, which every prompt repeats`);
    const build = (chosen: readonly GivenTool[]) => ({
        tools: chosen.map(({ tool }) => tool),
        params: chosen.map(({ param }) => `${param}.${schema}`)
    });
    if (typeof choice === "string") return { ...build(given), required: choice === "required", parallel };
    const chosen = given.filter(({ tool }) => tool.name === choice.name);
    if (chosen.length === 0) throw badParameter(choiceParam, "`tools` has no function of this name");
    return { ...build(chosen), required: true, parallel: false };
}
