import { LosslessNumber } from "lossless-json";
import { unsupported } from "../../errors.js";

/** A JSON schema: an object, `true` for any value, or `false` for none. */
export type Schema = boolean | SchemaObject;
export type SchemaObject = Readonly<Record<string, unknown>>;

export const kinds = ["object", "array", "string", "number", "integer", "boolean", "null"] as const;
export type Kind = (typeof kinds)[number];

/** Keywords without an effect on validity. */
const annotations = new Set([
    "$anchor",
    "$comment",
    "$defs",
    "$id",
    "$schema",
    // where OpenAPI keeps schemas that others refer to
    "components",
    "contentEncoding",
    "contentMediaType",
    "default",
    "definitions",
    "deprecated",
    "deprecationMessage",
    "description",
    "discriminator",
    "enumDescriptions",
    "enumNames",
    "errorMessage",
    "example",
    "examples",
    "externalDocs",
    "id",
    "markdownDescription",
    "markdownEnumDescriptions",
    "propertyOrdering",
    "readOnly",
    "strict",
    "title",
    "writeOnly",
    "xml"
]);

const numberKeywords = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "format"];

/** Keywords of each kind of value. */
export const keywordsOf: Readonly<Record<Kind, readonly string[]>> = {
    object: [
        "properties",
        "patternProperties",
        "required",
        "additionalProperties",
        "minProperties",
        "maxProperties",
        "propertyNames"
    ],
    array: ["items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems"],
    string: ["minLength", "maxLength", "format", "pattern"],
    number: numberKeywords,
    integer: numberKeywords,
    boolean: [],
    null: []
};

export function isObject(value: unknown): value is SchemaObject {
    return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof LosslessNumber);
}

/** Whether a schema is `{not: {}}`, another spelling of `false`. */
export function isNever(schema: unknown): boolean {
    if (!isObject(schema)) return false;
    return schema.not === true || (isObject(schema.not) && Object.keys(schema.not).length === 0);
}

/** @throws {ApiError} if the value is not a schema */
export function checkSchema(value: unknown, param: string): Schema {
    if (isNever(value)) return false;
    if (typeof value === "boolean" || isObject(value)) return value;
    throw unsupported(param, `\`${param}\` must be a JSON schema: an object, true or false`);
}

/**
 * The keywords of a schema that affect validity. A keyword with the value null counts as absent, and other names of a
 * keyword are replaced with that keyword.
 */
export function assertionsOf(schema: SchemaObject): Record<string, unknown> {
    const own = Object.fromEntries(
        Object.entries(schema).filter(
            ([key, value]) => !annotations.has(key) && !key.startsWith("x-") && (value !== null || key === "const")
        )
    );
    for (const key of closing) if (isNever(own[key])) own[key] = false;
    return closed(typed(own));
}

const closing = ["additionalProperties", "additionalItems", "items", "unevaluatedProperties"];

/** `nullable` of OpenAPI 3.0 is a part of `type`. Without a `type`, it has no effect, as its specification says. */
function typed(own: Record<string, unknown>): Record<string, unknown> {
    if (typeof own.nullable !== "boolean") return own;
    const { nullable, ...rest } = own;
    return nullable && "type" in rest ? { ...rest, type: [...new Set([rest.type, "null"].flat())] } : rest;
}

const applicators = ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "not", "dependentSchemas"];

/** Without schemas next to it that evaluate members, `unevaluatedProperties` is `additionalProperties`. */
function closed(own: Record<string, unknown>): Record<string, unknown> {
    if (!("unevaluatedProperties" in own) || applicators.some((key) => key in own)) return own;
    const { unevaluatedProperties, ...rest } = own;
    return { additionalProperties: unevaluatedProperties, ...rest };
}

/**
 * Resolves a reference within the same schema.
 * @throws {ApiError}
 */
export function resolveReference(root: Schema, reference: unknown, param: string): { schema: Schema; pointer: string } {
    const refuse = (reason: string) => unsupported(`${param}.$ref`, `\`${param}.$ref\` ${reason}`);
    if (typeof reference !== "string" || !/^#(?:\/|$)/.test(reference))
        throw refuse("must point into the same schema, such as #/$defs/name");
    let found: unknown = root;
    for (const part of reference.split("/").slice(1)) {
        const key = decode(part);
        const inObject = isObject(found) && Object.hasOwn(found, key);
        const inList = Array.isArray(found) && /^\d+$/.test(key) && Number(key) < found.length;
        if (!inObject && !inList) throw refuse(`points to ${JSON.stringify(reference)}, which does not exist`);
        found = (found as Record<string, unknown>)[key];
    }
    return { schema: checkSchema(found, `${param}.$ref`), pointer: reference };
}

/** RFC 6901. */
function decode(part: string): string {
    let text = part;
    try {
        text = decodeURIComponent(part);
    } catch {
        // not percent-encoded
    }
    return text.replaceAll("~1", "/").replaceAll("~0", "~");
}

/** A number of a schema as JavaScript reads it; it may be infinite. */
export function numberOf(value: unknown): number {
    return Number(value instanceof LosslessNumber ? value.value : value);
}

/**
 * A text that is the same for values that JSON Schema calls equal: whatever the order of their members, and however
 * their numbers are written. Numbers are compared as JavaScript validators read them.
 */
export function equalityKey(value: unknown): string {
    if (value instanceof LosslessNumber || typeof value === "number") return String(numberOf(value) + 0);
    if (Array.isArray(value)) return `[${value.map(equalityKey).join()}]`;
    if (!isObject(value)) return JSON.stringify(value);
    const members = Object.entries(value).map(([name, member]) => `${JSON.stringify(name)}:${equalityKey(member)}`);
    return `{${members.sort().join()}}`;
}

/** The kind of a value in `const` or `enum`. */
export function kindOf(value: unknown): Kind {
    if (value === null) return "null";
    if (Array.isArray(value)) return "array";
    if (value instanceof LosslessNumber || typeof value === "number")
        return Number.isInteger(numberOf(value)) ? "integer" : "number";
    return typeof value as "object" | "string" | "boolean";
}
