import { extendZodWithOpenApi } from "@asteasolutions/zod-to-openapi";
import { LosslessNumber } from "lossless-json";
import { z } from "zod";

extendZodWithOpenApi(z);

export { z };

/** Text that is whole: half of a surrogate pair cannot be tokenized. */
export const text = () =>
    z.string().refine(isWellFormed, {
        error: "holds half of a surrogate pair, which is no character"
    });

/** In Node since 20, and faster than an expression by far; TypeScript's types for ES2023 lack it. */
function isWellFormed(value: string): boolean {
    return (value as string & { isWellFormed(): boolean }).isWellFormed();
}

/** Whether a value says nothing: null, an empty text, an empty list or an empty object. */
export function isEmpty(value: unknown): boolean {
    if (value === null || value === "") return true;
    if (Array.isArray(value)) return value.length === 0;
    return isPlainObject(value) && Object.keys(value).length === 0;
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
    return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** Clients send null and empty values for parameters that they do not set, so these mean the default. */
export function optional<T extends z.ZodType>(schema: T) {
    const given = schema.nullish();
    // an empty list is not a number
    const isScalar = schema instanceof z.ZodNumber || schema instanceof z.ZodBoolean;
    const prepare = (value: unknown) => (value instanceof LosslessNumber ? Number(value.value) : value);
    return (
        isScalar ? z.preprocess(prepare, given) : z.preprocess((value) => (isEmpty(value) ? undefined : value), given)
    ).transform((value) => (value ?? undefined) as z.output<T> | undefined);
}

/** The name of a function, as Anthropic's API and MCP bound it. */
export const toolName = z.string().regex(/^[a-zA-Z0-9_-]{1,128}$/);

/** For the parts of a message, told apart by their type: those that a client may send and no model here can read. */
export const textOnly = {
    error: ({ code }: { code: string }) =>
        code === "invalid_union" ? "the model reads text only, and no part of this type" : undefined
};

/** A parameter that changes nothing in an answer. */
export const unused = z.unknown().optional().openapi({ description: "Without effect" });

const maxTokenId = 2 ** 31 - 1;

/** A list of token ids in the API's description. */
export const idList = {
    type: "array" as const,
    items: { type: "integer" as const, minimum: 0, maximum: maxTokenId },
    minItems: 1
};

/**
 * A list of token ids. zod would visit each of a million ids, and report each wrong one.
 */
export function tokenIds({ min = 1 }: { min?: number } = {}): z.ZodType<number[]> {
    const schema = z.unknown().superRefine((value, context) => {
        if (!Array.isArray(value) || value.length < min)
            return context.addIssue({ code: "custom", message: `expected a list of at least ${min} token ids` });
        const wrong = firstOther(value);
        if (wrong >= 0)
            context.addIssue({ code: "custom", path: [wrong], message: `expected an integer from 0 to ${maxTokenId}` });
    });
    return schema.openapi({ ...idList, minItems: min }) as unknown as z.ZodType<number[]>;
}

/** The index of the first value that is no token id, or -1. A call for each of a million ids would take long. */
function firstOther(values: readonly unknown[]): number {
    for (let i = 0; i < values.length; i++) {
        const id = values[i];
        if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > maxTokenId) return i;
    }
    return -1;
}

/**
 * An object whose names are those of the client. zod's own records leave out the name `__proto__`.
 * @param check returns what is wrong with an entry
 */
export function record<T>(
    check: (name: string, value: unknown) => string | undefined,
    values: object = {}
): z.ZodType<Record<string, T>> {
    const schema = z.unknown().superRefine((value, context) => {
        if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof LosslessNumber)
            return context.addIssue({ code: "custom", message: "expected an object" });
        for (const [name, inside] of Object.entries(value)) {
            const message = check(name, inside);
            if (message !== undefined) return context.addIssue({ code: "custom", path: [name], message });
        }
    });
    return schema.openapi({
        type: "object",
        additionalProperties: values as { type?: "string" }
    }) as unknown as z.ZodType<Record<string, T>>;
}

/** An object of any members. */
export const anyObject = record<unknown>(() => undefined);
