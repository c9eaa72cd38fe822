import {
    equals,
    isDict,
    isFloat,
    isList,
    isString,
    isUndefined,
    itemsOf,
    newScope,
    numberOf,
    str,
    undefinedValue,
    type Value
} from "./values.js";

export type Test = (value: Value, other?: Value) => boolean;

/** Those of the library. */
const { tests: known } = newScope() as unknown as { readonly tests: ReadonlyMap<string, Test> };

const cased = /[\p{Lu}\p{Ll}\p{Lt}]/u;
const isIterable = (value: Value) => isList(value) || isDict(value) || isString(value) || isUndefined(value);
const isEqual: Test = (value, other = undefinedValue) => equals(value, other);

/** Tests in which the library differs from Python's Jinja. */
const tests: Readonly<Record<string, Test>> = {
    iterable: isIterable,
    sequence: isIterable,
    number: (value) => numberOf(value) !== undefined,
    float: isFloat,
    lower: (value) => cased.test(str(value)) && str(value) === str(value).toLowerCase(),
    upper: (value) => cased.test(str(value)) && str(value) === str(value).toUpperCase(),
    eq: isEqual,
    equalto: isEqual,
    "==": isEqual,
    ne: (value, other) => !isEqual(value, other),
    "!=": (value, other) => !isEqual(value, other),
    in: (value, other = undefinedValue) => itemsOf(other).some((item) => equals(item, value))
};

/** @throws {Error} for a name that is no test */
export function testOf(name: string): Test {
    const test = Object.hasOwn(tests, name) ? tests[name] : known.get(name);
    if (test === undefined) throw new Error(`there is no test \`${name}\``);
    return test;
}
