import { stringify } from "lossless-json";
import { unsupported } from "../../errors.js";
import { assertionsOf, checkSchema, isObject, type Kind, resolveReference, type Schema } from "./Schema.js";

type Assertions = Readonly<Record<string, unknown>>;

/** Number of schemas that one `allOf` may join, references followed. */
const maxMembers = 100;

/** Keywords of objects that are merged together. */
const objectKeys = ["properties", "required", "additionalProperties"];

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
    for (const key of all) {
        if (objectKeys.includes(key)) continue;
        const values = members.filter((member) => key in member).map((member) => member[key]);
        merged[key] = mergeValues(key, values, param);
        if (key === "type" && (merged.type as unknown[]).length === 0) return undefined;
    }
    return merged;
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
            return values.reduce((a, b) => (Number(a) > Number(b) ? a : b));
        case "maximum":
        case "exclusiveMaximum":
        case "maxLength":
        case "maxItems":
        case "maxProperties":
            return values.reduce((a, b) => (Number(a) < Number(b) ? a : b));
        case "items":
        case "propertyNames":
            return { allOf: values };
        default:
            throw unsupported(`${param}.${key}`, `\`allOf\` with different values of \`${key}\` is not supported`);
    }
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
        const properties = propertiesOf(member);
        return Object.hasOwn(properties, name) ? properties[name] : (member.additionalProperties ?? true);
    };
    const join = (schemas: readonly unknown[]): unknown => {
        if (schemas.includes(false)) return false;
        const different = [...new Map(schemas.map((schema) => [stringify(schema), schema])).values()];
        const said = different.filter((schema) => schema !== true);
        return said.length === 0 ? true : said.length === 1 ? said[0] : { allOf: said };
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
