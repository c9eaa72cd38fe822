import { stringify } from "lossless-json";
import { unsupported } from "../../errors.js";
import {
    assertionsOf,
    checkSchema,
    equalityKey,
    isObject,
    type Kind,
    numberOf,
    resolveReference,
    type Schema
} from "./Schema.js";
import { spend } from "./Work.js";

type Assertions = Readonly<Record<string, unknown>>;

/** Number of schemas that one `allOf` may join, references followed. */
const maxMembers = 100;

/** Keywords of objects that are merged together, and those of arrays. */
const objectKeys = ["properties", "required", "additionalProperties"];
const itemKeys = ["prefixItems", "items", "additionalItems"];

/**
 * Joins schemas that must all accept a value into one with the same keywords. `pattern` becomes a list.
 * @returns undefined if no value can be accepted
 * @throws {ApiError} for keywords that cannot be joined
 */
export function mergeSchemas(root: Schema, schemas: readonly Schema[], param: string): Assertions | undefined {
    const members: Assertions[] = [];
    const add = (schema: Schema): boolean => {
        if (schema === false) return false;
        if (members.length > maxMembers)
            throw unsupported(`${param}.allOf`, `\`${param}.allOf\` joins more than ${maxMembers} schemas`);
        if (schema === true) return true;
        spend(10);
        const { allOf, $ref, ...own } = assertionsOf(schema);
        members.push(own);
        const inside = Array.isArray(allOf) ? allOf.map((each) => checkSchema(each, `${param}.allOf`)) : [];
        const referred = $ref === undefined ? [] : [resolveReference(root, $ref, param).schema];
        return [...inside, ...referred].every(add);
    };
    if (!schemas.every(add)) return undefined;
    const merged: Record<string, unknown> = {};
    const all = new Set(members.flatMap((member) => Object.keys(member)));
    const about = members.filter((member) => [...objectKeys, "patternProperties"].some((key) => key in member));
    if (about.length > 1 && all.has("patternProperties"))
        throw unsupported(`${param}.patternProperties`, "`allOf` with `patternProperties` is not supported");
    if (objectKeys.some((key) => all.has(key))) Object.assign(merged, mergeObjects(about));
    if (itemKeys.some((key) => all.has(key)))
        Object.assign(
            merged,
            mergeArrays(
                members.filter((member) => itemKeys.some((key) => key in member)),
                param
            )
        );
    for (const key of all) {
        if (objectKeys.includes(key) || itemKeys.includes(key)) continue;
        spend(members.length);
        const values = members.filter((member) => key in member).map((member) => member[key]);
        merged[key] = mergeValues(key, values, param);
        const isList = key === "type" || key === "enum";
        if (isList && Array.isArray(merged[key]) && (merged[key] as unknown[]).length === 0) return undefined;
    }
    return mergeConstants(members, merged);
}

/** A `const` has to be the only one, and one of the values in `enum`. */
function mergeConstants(members: readonly Assertions[], merged: Record<string, unknown>): Assertions | undefined {
    if (!("const" in merged)) return merged;
    const isSame = (value: unknown) => equalityKey(value) === equalityKey(merged.const);
    const { enum: listed, ...rest } = merged;
    const isListed = !Array.isArray(listed) || listed.some(isSame);
    return isListed && members.every((member) => !("const" in member) || isSame(member.const)) ? rest : undefined;
}

function mergeValues(key: string, values: readonly unknown[], param: string): unknown {
    if (key === "pattern") return values.flat();
    if (key === "type") return values.map((value) => [value].flat() as Kind[]).reduce(commonKinds);
    const [first] = values;
    if (values.every((value) => stringify(value) === stringify(first))) return first;
    switch (key) {
        case "minimum":
        case "exclusiveMinimum":
        case "minLength":
        case "minItems":
        case "minProperties":
            return values.reduce((a, b) => (numberOf(a) > numberOf(b) ? a : b));
        case "maximum":
        case "exclusiveMaximum":
        case "maxLength":
        case "maxItems":
        case "maxProperties":
            return values.reduce((a, b) => (numberOf(a) < numberOf(b) ? a : b));
        case "propertyNames":
            return { allOf: values };
        case "const":
            return first;
        case "enum":
            return values.every(Array.isArray) ? values.reduce(commonValues) : first;
        default:
            throw unsupported(`${param}.${key}`, `\`allOf\` with different values of \`${key}\` is not supported`);
    }
}

function commonValues(a: readonly unknown[], b: readonly unknown[]): unknown[] {
    spend(a.length + b.length);
    const keys = new Set(b.map(equalityKey));
    return a.filter((value) => keys.has(equalityKey(value)));
}

function commonKinds(a: readonly Kind[], b: readonly Kind[]): Kind[] {
    const narrow = (from: readonly Kind[], by: readonly Kind[]) =>
        from.filter((kind) => by.includes(kind) || (kind === "integer" && by.includes("number")));
    return [...new Set([...narrow(a, b), ...narrow(b, a)])];
}

function mergeObjects(about: readonly Assertions[]): Assertions {
    const propertiesOf = ({ properties }: Assertions) => (isObject(properties) ? properties : {});
    const names = new Set(about.flatMap((member) => Object.keys(propertiesOf(member))));
    const of = (member: Assertions, name: string) => {
        spend(1);
        const properties = propertiesOf(member);
        return Object.hasOwn(properties, name) ? properties[name] : (member.additionalProperties ?? true);
    };
    const extras = about.flatMap(({ additionalProperties }) =>
        additionalProperties === undefined ? [] : [additionalProperties]
    );
    const required = about.flatMap((member) => (Array.isArray(member.required) ? member.required : []));
    return {
        properties: Object.fromEntries([...names].map((name) => [name, join(about.map((member) => of(member, name)))])),
        ...(required.length > 0 ? { required: [...new Set(required)] } : {}),
        ...(extras.length > 0 ? { additionalProperties: join(extras) } : {})
    };
}

/** Items at a position follow `prefixItems` of one schema, and `items` of another whose list ends before. */
function mergeArrays(about: readonly Assertions[], param: string): Assertions {
    const lists = about.map(({ prefixItems = [], items, additionalItems }) => {
        // in drafts before 2020-12, a list of `items` is what `prefixItems` is now
        const [first, rest = true] = Array.isArray(items) ? [items, additionalItems] : [prefixItems, items];
        if (!Array.isArray(first)) throw unsupported(`${param}.prefixItems`, "`prefixItems` must be a list of schemas");
        return { first: first as readonly unknown[], rest };
    });
    const length = Math.max(...lists.map(({ first }) => first.length));
    spend(length * lists.length);
    const prefixItems = Array.from({ length }, (_, i) =>
        join(lists.map(({ first, rest }) => (i < first.length ? first[i] : rest)))
    );
    return { ...(length > 0 ? { prefixItems } : {}), items: join(lists.map(({ rest }) => rest)) };
}

/** A schema for what all of the schemas accept. */
function join(schemas: readonly unknown[]): unknown {
    if (schemas.includes(false)) return false;
    const texts = [...new Set(schemas)].map((schema) => [stringify(schema)!, schema] as const);
    spend(texts.reduce((size, [text]) => size + 5 + text.length / 5, 0));
    const different = [...new Map(texts).values()];
    const said = different.filter((schema) => schema !== true);
    return said.length === 0 ? true : said.length === 1 ? said[0] : { allOf: said };
}
