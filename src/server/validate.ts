import { z } from "zod";
import { type ApiError, badParameter } from "./errors.js";
import { isEmpty, isPlainObject } from "./schemas/zod.js";

type Issue = z.core.$ZodIssue;

/** Members whose own nulls have a meaning, since they are not parameters. */
const opaque = new Set([
    "arguments",
    "chat_template_kwargs",
    "format",
    "input",
    "input_schema",
    "metadata",
    "parameters",
    "schema"
]);

/**
 * Checks a request by its schema. Null means that a parameter is absent, and so do empty values of parameters that the
 * schema does not have.
 * @throws {ApiError} with the name of the parameter that is wrong
 */
export function validate<T extends z.ZodType>(schema: T, value: unknown): z.infer<T> {
    const result = schema.safeParse(withoutEmpty(schema, withoutNulls(value)));
    if (result.success) return result.data;
    throw describe(result.error.issues[0]!, []);
}

function withoutNulls(value: unknown): unknown {
    if (Array.isArray(value)) return hasObjects(value) ? value.map(withoutNulls) : value;
    if (!isPlainObject(value)) return value;
    const kept = Object.entries(value).flatMap(([key, inside]): [string, unknown][] => {
        if (inside === null) return [];
        return [[key, opaque.has(key) && !Array.isArray(inside) ? inside : withoutNulls(inside)]];
    });
    // an assignment to `__proto__` would not make a member
    return Object.fromEntries(kept);
}

/** A loop takes a fraction of the time that a call for each of a million token ids takes. */
function hasObjects(list: readonly unknown[]): boolean {
    for (const item of list) if (typeof item === "object") return true;
    return false;
}

function withoutEmpty(schema: z.ZodType, value: unknown): unknown {
    if (!(schema instanceof z.ZodObject) || !isPlainObject(value)) return value;
    return Object.fromEntries(
        Object.entries(value).filter(([key, inside]) => Object.hasOwn(schema.shape, key) || !isEmpty(inside))
    );
}

function describe(issue: Issue, prefix: PropertyKey[]): ApiError {
    const path = [...prefix, ...issue.path];
    if (issue.code === "unrecognized_keys") {
        const param = nameOf([...path, issue.keys[0]!]);
        return badParameter(param, `\`${param}\` is not a parameter that this server supports`, "unknown_parameter");
    }
    if (issue.code === "invalid_union" && issue.errors.length > 0) {
        // the alternative that came furthest is the one that was meant
        const deepest = issue.errors.map((errors) => errors[0]!).sort((a, b) => b.path.length - a.path.length)[0]!;
        if (deepest.path.length > 0) return describe(deepest, path);
    }
    const param = nameOf(path);
    const code = isMissing(issue) ? "missing_required_parameter" : "invalid_value";
    return badParameter(param, `\`${param}\` is not valid: ${issue.message.replace(/^Invalid input: /, "")}`, code);
}

function isMissing(issue: Issue): boolean {
    return issue.code === "invalid_type" && /received undefined$/.test(issue.message);
}

function nameOf(path: PropertyKey[]): string {
    return path.map(String).join(".").slice(0, 200) || "body";
}
