import { extendZodWithOpenApi } from "@asteasolutions/zod-to-openapi";
import { z } from "zod";

extendZodWithOpenApi(z);

export { z };

/** Text that is whole: half of a surrogate pair cannot be tokenized. */
export const text = () =>
    z.string().refine((value) => !/\p{Surrogate}/u.test(value), {
        error: "holds half of a surrogate pair, which is no character"
    });

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
    return (isScalar ? given : z.preprocess((value) => (isEmpty(value) ? undefined : value), given)).transform(
        (value) => (value ?? undefined) as z.output<T> | undefined
    );
}
