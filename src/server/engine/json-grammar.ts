import type { GbnfJsonSchema, Llama, LlamaGrammar } from "../../../plugin/index.js";
import { ApiError, unsupported } from "../errors.js";

/** Bounds that no sensible schema meets, and that a grammar of bounded size keeps. */
const maxDepth = 32;
const maxNodes = 2000;
const maxRepetitions = 1000;

/** Keywords that say nothing about what is valid. */
const annotations = new Set([
    "title",
    "description",
    "default",
    "examples",
    "$schema",
    "$id",
    "$comment",
    "deprecated",
    "strict"
]);

const types = new Set(["string", "number", "integer", "boolean", "null", "object", "array"]);

/** Keywords that a grammar can hold to, by what they are said of. */
const keywords: Readonly<Record<string, readonly string[]>> = {
    object: ["properties", "required", "additionalProperties", "minProperties", "maxProperties"],
    array: ["items", "prefixItems", "minItems", "maxItems"],
    string: ["minLength", "maxLength", "format"]
};

/** Where in a request a schema stands, and what it says about references. */
type Place = { readonly param: string; readonly depth: number; readonly count: { nodes: number } };

/**
 * A JSON schema in the form that node-llama-cpp makes grammars of. What the grammar could not hold an answer to is
 * refused by name; leaving it out would give answers that are not valid.
 * @throws {ApiError}
 */
export function toGbnfSchema(schema: unknown, param: string): GbnfJsonSchema {
    return convert(schema, { param, depth: 0, count: { nodes: 0 } }) as GbnfJsonSchema;
}

/** @throws {ApiError} where the schema is too much for a grammar */
export async function grammarForSchema(llama: Llama, schema: unknown, param: string): Promise<LlamaGrammar> {
    const converted = toGbnfSchema(schema, param);
    try {
        return await llama.createGrammarForJsonSchema(converted as { type: "null" });
    } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw new ApiError(400, `\`${param}\` cannot be made into a grammar: ${reason}`, { param });
    }
}

function convert(schema: unknown, place: Place): object {
    const { param, depth, count } = place;
    if (typeof schema !== "object" || schema === null || Array.isArray(schema))
        throw unsupported(param, `\`${param}\` has to be a JSON schema object`);
    count.nodes++;
    if (depth > maxDepth || count.nodes > maxNodes)
        throw unsupported(param, `the schema is larger than ${maxDepth} levels or ${maxNodes} parts`);
    const { description, $defs, definitions, ...rest } = schema as Record<string, unknown>;
    const shared = {
        ...(typeof description === "string" ? { description } : {}),
        ...convertDefs($defs ?? definitions, place)
    };
    const own = Object.fromEntries(Object.entries(rest).filter(([key]) => !annotations.has(key)));
    for (const key of ["const", "enum", "$ref", "anyOf", "oneOf"] as const)
        if (key in own) return { ...shared, ...convertBy(key, own, place) };
    const { type, ...about } = own;
    const kinds = Array.isArray(type) ? type : [type ?? ("properties" in about ? "object" : undefined)];
    for (const kind of kinds)
        if (typeof kind !== "string" || !types.has(kind))
            throw unsupported(`${param}.type`, `\`${param}.type\` has to name JSON types, got ${JSON.stringify(kind)}`);
    const known = new Set((kinds as string[]).flatMap((kind) => keywords[kind] ?? []));
    for (const key of Object.keys(about))
        if (!known.has(key))
            throw unsupported(`${param}.${key}`, `the schema keyword \`${key}\` is not supported here`);
    if (kinds.length === 1) return { ...shared, ...convertKind(kinds[0] as string, about, place) };
    return { ...shared, oneOf: (kinds as string[]).map((kind) => convertKind(kind, pick(about, kind), place)) };
}

function convertDefs(defs: unknown, place: Place): object {
    if (defs === undefined) return {};
    if (typeof defs !== "object" || defs === null) throw unsupported(`${place.param}.$defs`, "`$defs` is no object");
    return {
        $defs: Object.fromEntries(
            Object.entries(defs).map(([name, schema]) => [name, convert(schema, inner(place, `$defs.${name}`))])
        )
    };
}

function convertBy(key: "const" | "enum" | "$ref" | "anyOf" | "oneOf", own: Record<string, unknown>, place: Place) {
    const value = own[key];
    const { param } = place;
    for (const other of Object.keys(own))
        if (other !== key && !(other === "type" && (key === "const" || key === "enum")))
            throw unsupported(
                `${param}.${other}`,
                `the schema keyword \`${other}\` is not supported beside \`${key}\``
            );
    switch (key) {
        case "const":
            checkScalars([value], `${param}.const`);
            return { const: value };
        case "enum":
            if (!Array.isArray(value) || value.length === 0 || value.length > maxNodes)
                throw unsupported(`${param}.enum`, "`enum` has to be a list of 1 to 2000 values");
            checkScalars(value, `${param}.enum`);
            return { enum: value };
        case "$ref": {
            const name =
                typeof value === "string" ? /^#\/(?:\$defs|definitions)\/([^/]+)$/.exec(value)?.[1] : undefined;
            if (name === undefined)
                throw unsupported(`${param}.$ref`, "only references of the form #/$defs/name are supported");
            return { $ref: `#/$defs/${name}` };
        }
        default:
            if (!Array.isArray(value) || value.length === 0)
                throw unsupported(`${param}.${key}`, `\`${key}\` has to be a list of schemas`);
            return { oneOf: value.map((item, i) => convert(item, inner(place, `${key}.${i}`))) };
    }
}

function convertKind(kind: string, about: Record<string, unknown>, place: Place): object {
    const { param } = place;
    for (const key of ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"])
        if (key in about) checkCount(about[key], `${param}.${key}`);
    switch (kind) {
        case "string": {
            const { format } = about;
            if (format !== undefined && !["date-time", "time", "date"].includes(String(format)))
                throw unsupported(`${param}.format`, "the formats date-time, time and date are supported");
            if (format !== undefined && (about.minLength !== undefined || about.maxLength !== undefined))
                throw unsupported(`${param}.format`, "`format` and a length exclude each other");
            return { type: "string", ...about };
        }
        case "array": {
            const { items, prefixItems, ...counts } = about;
            const list = prefixItems === undefined ? undefined : (prefixItems as unknown[]);
            if (list !== undefined && !Array.isArray(list))
                throw unsupported(`${param}.prefixItems`, "`prefixItems` has to be a list of schemas");
            return {
                type: "array",
                ...(items === undefined || items === true ? {} : { items: convert(items, inner(place, "items")) }),
                ...(list && { prefixItems: list.map((item, i) => convert(item, inner(place, `prefixItems.${i}`))) }),
                ...counts
            };
        }
        case "object":
            return convertObject(about, place);
        default:
            return { type: kind };
    }
}

function convertObject(about: Record<string, unknown>, place: Place): object {
    const { properties = {}, required, additionalProperties, ...counts } = about;
    const { param } = place;
    if (typeof properties !== "object" || properties === null || Array.isArray(properties))
        throw unsupported(`${param}.properties`, "`properties` has to be an object");
    if (
        required !== undefined &&
        !(Array.isArray(required) && required.every((name) => Object.hasOwn(properties, name)))
    )
        throw unsupported(`${param}.required`, "`required` has to list names that are in `properties`");
    const more =
        typeof additionalProperties === "object" && additionalProperties !== null
            ? convert(additionalProperties, inner(place, "additionalProperties"))
            : additionalProperties;
    return {
        type: "object",
        properties: Object.fromEntries(
            Object.entries(properties).map(([name, value]) => [
                name,
                convert(value, inner(place, `properties.${name}`))
            ])
        ),
        // an object without any word on its properties may have any
        ...(more === undefined
            ? Object.keys(properties).length === 0
                ? { additionalProperties: true }
                : {}
            : { additionalProperties: more }),
        ...counts
    };
}

function pick(about: Record<string, unknown>, kind: string): Record<string, unknown> {
    return Object.fromEntries(Object.entries(about).filter(([key]) => keywords[kind]?.includes(key)));
}

function inner({ param, depth, count }: Place, name: string): Place {
    return { param: `${param}.${name}`, depth: depth + 1, count };
}

function checkScalars(values: readonly unknown[], param: string): void {
    for (const value of values)
        if (value !== null && !["string", "number", "boolean"].includes(typeof value))
            throw unsupported(param, `\`${param}\` has to be of strings, numbers, booleans or null`);
}

function checkCount(value: unknown, param: string): void {
    if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > maxRepetitions)
        throw unsupported(param, `\`${param}\` has to be an integer from 0 to ${maxRepetitions}`);
}
