import {
    assertionsOf,
    equalityKey,
    isObject,
    type Kind,
    kindOf,
    kinds,
    resolveReference,
    type Schema
} from "./Schema.js";
import { spend } from "./Work.js";

/** Limit of comparisons for all `oneOf` in a schema. */
const maxComparisons = 5000;

/** References and members that a comparison follows: a schema may refer to itself. */
const maxDepth = 100;

/** Counter of comparisons. */
export interface ComparisonCount {
    comparisons: number;
}

/**
 * Whether the second schema refuses every value that the first schema's grammar accepts. `oneOf` requires this of each
 * pair, since a value with two matches is invalid. The answer is no if it would take too many comparisons.
 */
export function areDisjoint(root: Schema, a: Schema, b: Schema, count: ComparisonCount, depth = 0): boolean {
    if (++count.comparisons > maxComparisons || depth > maxDepth) return false;
    spend(30);
    if (a === false || b === false) return true;
    if (a === true || b === true) return false;
    const [left, right] = [assertionsOf(a), assertionsOf(b)];
    const next = (x: Schema, y: Schema) => areDisjoint(root, x, y, count, depth + 1);
    if (left.$ref !== undefined) return next(resolveReference(root, left.$ref, "oneOf").schema, b);
    if (right.$ref !== undefined) return next(a, resolveReference(root, right.$ref, "oneOf").schema);
    for (const key of ["anyOf", "oneOf"] as const) {
        if (Array.isArray(left[key])) return (left[key] as Schema[]).every((item) => next(item, b));
        if (Array.isArray(right[key])) return (right[key] as Schema[]).every((item) => next(a, item));
    }
    const [leftValues, rightValues] = [valuesOf(left), valuesOf(right)];
    if (leftValues !== undefined && rightValues !== undefined) {
        const keys = new Set(keysOf(rightValues));
        return keysOf(leftValues).every((key) => !keys.has(key));
    }
    const [leftKinds, rightKinds] = [kindsOf(left, leftValues), kindsOf(right, rightValues)];
    const shared = leftKinds.filter((kind) => rightKinds.includes(kind));
    if (shared.length === 0) return true;
    if (shared.some((kind) => kind !== "object")) return false;
    return haveDifferentMembers(left, right, next) || haveDifferentMembers(right, left, next);
}

/** Whether all objects of the first schema have a member that the second schema refuses. */
function haveDifferentMembers(
    first: Record<string, unknown>,
    second: Record<string, unknown>,
    areDisjointSchemas: (a: Schema, b: Schema) => boolean
): boolean {
    const required = Array.isArray(first.required) ? (first.required as string[]) : [];
    const members = propertiesOf(first);
    const others = propertiesOf(second);
    return required.some((name) => {
        const other = Object.hasOwn(others, name) ? others[name]! : undefined;
        if (other === undefined) return second.additionalProperties === false;
        return areDisjointSchemas(Object.hasOwn(members, name) ? members[name]! : true, other);
    });
}

function propertiesOf({ properties }: Record<string, unknown>): Readonly<Record<string, Schema>> {
    return isObject(properties) ? (properties as Record<string, Schema>) : {};
}

function keysOf(values: readonly unknown[]): string[] {
    const keys = values.map(equalityKey);
    spend(keys.reduce((size, key) => size + 2 + key.length / 5, 0));
    return keys;
}

function valuesOf(schema: Record<string, unknown>): unknown[] | undefined {
    if ("const" in schema) return [schema.const];
    return Array.isArray(schema.enum) ? schema.enum : undefined;
}

function kindsOf({ type }: Record<string, unknown>, values: unknown[] | undefined): Kind[] {
    const found = values?.map(kindOf) ?? (type === undefined ? kinds : [type].flat());
    // every integer is also a number
    return [...found].flatMap((kind) => (kind === "number" ? ["number", "integer"] : [kind])) as Kind[];
}
