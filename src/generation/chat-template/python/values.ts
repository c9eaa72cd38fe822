import { Environment, Interpreter, Template } from "@huggingface/jinja";

/** A value of the template library. */
export interface Value {
    readonly type: string;
    readonly value: unknown;
    __bool__(): { readonly value: boolean };
}

/** Variables, and those around them. */
export interface Scope {
    readonly variables: Map<string, Value>;
    lookupVariable(name: string): Value;
    setVariable(name: string, value: Value): void;
    /** Declares a variable with a value of JavaScript. */
    set(name: string, value: unknown): void;
}

/** @param around the scope around the new one. Default: none. */
export function newScope(around?: Scope): Scope {
    return new Environment(around as Environment | undefined) as unknown as Scope;
}

type Kind<Name extends string, T> = Value & { readonly type: Name; readonly value: T };
export type Call = (args: Value[], scope: Scope) => Value;

/** The library exports no classes of values, so that they are taken from values. */
function classOf(expression: string): new (value?: unknown) => Value {
    const [statement] = new Template(`{{ ${expression} }}`).parsed.body;
    const scope = new Environment();
    scope.set("f", () => null);
    scope.set("b", true);
    scope.set("n", null);
    return new Interpreter(scope).evaluate(statement, scope).constructor as new (
        value?: unknown
    ) => Value;
}

const classes = {
    integer: classOf("1"),
    float: classOf("1.5"),
    string: classOf("''"),
    boolean: classOf("b"),
    none: classOf("n"),
    list: classOf("[]"),
    tuple: classOf("(1, 2)"),
    dict: classOf("{}"),
    callable: classOf("f"),
    undefined: classOf("nope")
};

export const integer = (value: number) => new classes.integer(value);
export const float = (value: number) => new classes.float(value);
export const string = (value: string) => new classes.string(value);
export const boolean = (value: boolean) => new classes.boolean(value);
export const list = (value: readonly Value[]) => new classes.list([...value]);
export const tuple = (value: readonly Value[]) => new classes.tuple([...value]);
export const dict = (value: ReadonlyMap<string, Value>) => new classes.dict(new Map(value));
export const callable = (call: Call) => new classes.callable(call);
export const none = new classes.none(null);
export const undefinedValue = new classes.undefined();

/** A value of JavaScript. A map is a dict too, whose keys keep their order. */
export function toValue(value: unknown): Value {
    switch (typeof value) {
        case "number":
            return Number.isInteger(value) ? integer(value) : float(value);
        case "string":
            return string(value);
        case "boolean":
            return boolean(value);
        case "undefined":
            return undefinedValue;
        case "object": {
            if (value === null) return none;
            if (Array.isArray(value)) return list(value.map(toValue));
            const entries: Iterable<[string, unknown]> = value instanceof Map ? value : Object.entries(value);
            return dict(new Map([...entries].map(([key, inside]) => [key, toValue(inside)])));
        }
        case "function":
            return callable((args) => toValue(value(...args.map((argument) => argument.value))));
        default:
            throw new Error(`a template cannot have a ${typeof value} as a variable`);
    }
}

export const isString = (value: Value): value is Kind<"StringValue", string> => value.type === "StringValue";
export const isInteger = (value: Value): value is Kind<"IntegerValue", number> => value.type === "IntegerValue";
export const isFloat = (value: Value): value is Kind<"FloatValue", number> => value.type === "FloatValue";
export const isBoolean = (value: Value): value is Kind<"BooleanValue", boolean> => value.type === "BooleanValue";
export const isNone = (value: Value): boolean => value.type === "NullValue";
export const isUndefined = (value: Value): boolean => value.type === "UndefinedValue";
export const isTuple = (value: Value): value is Kind<"TupleValue", Value[]> => value.type === "TupleValue";
export const isList = (value: Value): value is Kind<"ArrayValue" | "TupleValue", Value[]> =>
    value.type === "ArrayValue" || value.type === "TupleValue";
export const isDict = (value: Value): value is Kind<"ObjectValue", Map<string, Value>> =>
    value.type === "ObjectValue" || value.type === "KeywordArgumentsValue";
export const isNamespace = (value: Value): value is Kind<"NamespaceValue", Map<string, Value>> =>
    value.type === "NamespaceValue";
export const isCallable = (value: Value): value is Kind<"FunctionValue", Call> => value.type === "FunctionValue";

/** The number that a value counts as; undefined for anything but numbers and booleans. */
export function numberOf(value: Value): number | undefined {
    if (isInteger(value) || isFloat(value)) return value.value;
    return isBoolean(value) ? Number(value.value) : undefined;
}

/** Name of a value's type in Python, for errors. */
export function typeName(value: Value): string {
    const names: Readonly<Record<string, string>> = {
        IntegerValue: "int",
        FloatValue: "float",
        StringValue: "str",
        BooleanValue: "bool",
        NullValue: "None",
        UndefinedValue: "an undefined value",
        ArrayValue: "list",
        TupleValue: "tuple",
        ObjectValue: "dict",
        FunctionValue: "a function"
    };
    return names[value.type] ?? value.type;
}

/** A key of a dict: an integer has a form that no text has. */
export const keyOf = (value: Value): string => (isInteger(value) ? `\0${value.value}` : str(value));
export const valueOfKey = (key: string): Value => (/^\0-?\d+$/.test(key) ? integer(Number(key.slice(1))) : string(key));

/** Texts that the filter `safe` has marked: text that is added to one is escaped, and no other text is. */
const markups = new WeakSet<Value>();
export const isMarkup = (value: Value): boolean => markups.has(value);

export function markup(text: string): Value {
    const value = string(text);
    markups.add(value);
    return value;
}

export function escapeMarkup(text: string): string {
    return text.replace(/[&<>'"]/g, (character) => `&${entities[character]};`);
}

const entities: Readonly<Record<string, string>> = { "&": "amp", "<": "lt", ">": "gt", "'": "#39", '"': "#34" };

export const codePoints = (text: string): string[] => Array.from(text);

/** `str(value)` of Python. */
export function str(value: Value): string {
    if (isString(value)) return value.value;
    return isUndefined(value) ? "" : repr(value);
}

/** `repr(value)` of Python. */
export function repr(value: Value): string {
    if (isString(value)) return quote(value.value);
    if (isInteger(value)) return BigInt(value.value).toString();
    if (isFloat(value)) return floatText(value.value);
    if (isBoolean(value)) return value.value ? "True" : "False";
    if (isNone(value)) return "None";
    if (isUndefined(value)) return "Undefined";
    if (isTuple(value)) return `(${value.value.map(repr).join(", ")}${value.value.length === 1 ? "," : ""})`;
    if (isList(value)) return `[${value.value.map(repr).join(", ")}]`;
    if (isDict(value)) return dictText(value.value);
    if (isNamespace(value)) return `<Namespace ${dictText(value.value)}>`;
    throw new Error(`${typeName(value)} cannot be written as text`);
}

function dictText(entries: ReadonlyMap<string, Value>): string {
    return `{${[...entries].map(([key, value]) => `${repr(valueOfKey(key))}: ${repr(value)}`).join(", ")}}`;
}

/** A float as Python writes it: the same digits, and an exponent for other sizes. */
export function floatText(value: number): string {
    if (Number.isNaN(value)) return "nan";
    if (!Number.isFinite(value)) return value < 0 ? "-inf" : "inf";
    const [digits, power] = value.toExponential().split("e") as [string, string];
    const exponent = Number(power);
    if (value !== 0 && (exponent < -4 || exponent >= 16))
        return `${digits}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
    const text = exponent < -6 ? value.toFixed(20) : String(value);
    const signed = Object.is(value, -0) ? "-0" : text;
    return signed.includes(".") ? signed : `${signed}.0`;
}

/**
 * Characters that Python escapes. Those of the 16th plane are left out: one of them is the sign that tells a message's
 * text from the template's, and it disappears from the result.
 */
const unprintable = /(?![ \u{f0000}-\u{fffff}])[\p{C}\p{Z}\\]/gu;
const named: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\" };

function quote(text: string): string {
    const mark = text.includes("'") && !text.includes('"') ? '"' : "'";
    const escaped = text.replace(unprintable, (character) => {
        const code = character.codePointAt(0)!;
        const hex = code.toString(16);
        if (code < 0x100) return named[character] ?? `\\x${hex.padStart(2, "0")}`;
        return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
    });
    return `${mark}${mark === "'" ? escaped.replaceAll("'", "\\'") : escaped}${mark}`;
}

/** `a == b` of Python. */
export function equals(a: Value, b: Value): boolean {
    const [x, y] = [numberOf(a), numberOf(b)];
    if (x !== undefined && y !== undefined) return x === y;
    if (isString(a) && isString(b)) return a.value === b.value;
    if (isList(a) && isList(b))
        return (
            isTuple(a) === isTuple(b) &&
            a.value.length === b.value.length &&
            a.value.every((item, i) => equals(item, b.value[i]!))
        );
    if (isDict(a) && isDict(b))
        return (
            a.value.size === b.value.size &&
            [...a.value].every(([key, item]) => b.value.has(key) && equals(item, b.value.get(key)!))
        );
    return (isNone(a) && isNone(b)) || (isUndefined(a) && isUndefined(b)) || a === b;
}

/** Negative if `a < b` in Python. */
export function compare(a: Value, b: Value): number {
    const [x, y] = [numberOf(a), numberOf(b)];
    if (x !== undefined && y !== undefined) return x < y ? -1 : x > y ? 1 : 0;
    if (isString(a) && isString(b)) return compareTexts(a.value, b.value);
    throw new Error(`${typeName(a)} and ${typeName(b)} have no order`);
}

/** By code points; JavaScript compares surrogates. */
export function compareTexts(a: string, b: string): number {
    const [left, right] = [codePoints(a), codePoints(b)];
    for (let i = 0; i < Math.min(left.length, right.length); i++) {
        const difference = left[i]!.codePointAt(0)! - right[i]!.codePointAt(0)!;
        if (difference !== 0) return difference;
    }
    return left.length - right.length;
}

/** The items that a loop over the value has. */
export function itemsOf(value: Value): readonly Value[] {
    if (isList(value)) return value.value;
    if (isDict(value)) return [...value.value.keys()].map(valueOfKey);
    if (isString(value)) return codePoints(value.value).map(string);
    if (isUndefined(value)) return [];
    throw new Error(`${typeName(value)} is not iterable`);
}
