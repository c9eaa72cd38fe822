import { itemsOfDict } from "./dict-methods.js";
import { dumps } from "./json.js";
import { capitalize, type Keywords, splitLines, strip } from "./strings.js";
import { testOf } from "./tests.js";
import {
    codePoints,
    compare,
    equals,
    float,
    integer,
    isDict,
    isFloat,
    isInteger,
    isList,
    isNone,
    isString,
    isUndefined,
    itemsOf,
    list,
    markup,
    numberOf,
    str,
    string,
    typeName,
    undefinedValue,
    type Value
} from "./values.js";

/** Returns undefined for what the library computes. */
type Filter = (value: Value, args: readonly Value[], keywords: Keywords) => Value | undefined;

/** An argument by its place or its name. */
function argument(args: readonly Value[], keywords: Keywords, place: number, name: string): Value | undefined {
    return keywords.get(name) ?? args[place];
}

const isTrue = (value: Value | undefined) => value?.__bool__().value === true;

function length(value: Value): number {
    if (isString(value)) return codePoints(value.value).length;
    if (isDict(value)) return value.value.size;
    return itemsOf(value).length;
}

/** As transformers defines it, whose first argument is not Jinja's. */
const tojson: Filter = (value, args, keywords) => {
    const indent = argument(args, keywords, 1, "indent");
    const separators = argument(args, keywords, 2, "separators");
    const isIndented = indent !== undefined && !isNone(indent);
    const given = separators !== undefined && isList(separators) ? separators.value.map(str) : undefined;
    if (given !== undefined && given.length !== 2) throw new Error("tojson: `separators` are two texts");
    return string(
        dumps(value, {
            ensureAscii: isTrue(argument(args, keywords, 0, "ensure_ascii")),
            indent: isIndented ? (isString(indent) ? indent.value : " ".repeat(Number(indent.value))) : undefined,
            separators: (given as [string, string] | undefined) ?? [isIndented ? "," : ", ", ": "],
            sortKeys: isTrue(argument(args, keywords, 3, "sort_keys"))
        })
    );
};

/** A number as Python reads it from text; undefined if it is none. */
function parsed(text: string): number | undefined {
    const digits = strip(text, undefined, "both").replace(/(?<=\d)_(?=\d)/g, "");
    return /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(digits) ? Number(digits) : undefined;
}

const toInteger: Filter = (value, args, keywords) => {
    if (argument(args, keywords, 1, "base") !== undefined) throw new Error("int: `base` is not supported");
    const number = isString(value) ? parsed(value.value) : numberOf(value);
    return number === undefined ? (argument(args, keywords, 0, "default") ?? integer(0)) : integer(Math.trunc(number));
};

const toFloat: Filter = (value, args, keywords) => {
    const number = isString(value) ? parsed(value.value) : numberOf(value);
    return number === undefined ? (argument(args, keywords, 0, "default") ?? float(0)) : float(number);
};

const orElse: Filter = (value, args, keywords) => {
    const replaces = isUndefined(value) || (isTrue(argument(args, keywords, 1, "boolean")) && !isTrue(value));
    return replaces ? (argument(args, keywords, 0, "default_value") ?? string("")) : value;
};

function attributeOf(value: Value, path: Value): Value {
    if (isInteger(path)) return itemsOf(value)[path.value] ?? undefinedValue;
    let found = value;
    for (const part of str(path).split(".")) {
        if (isDict(found)) found = found.value.get(part) ?? undefinedValue;
        else found = /^\d+$/.test(part) ? (itemsOf(found)[Number(part)] ?? undefinedValue) : undefinedValue;
    }
    return found;
}

/** Without capital letters, unless they count. */
function folded(value: Value, isCaseSensitive: boolean): Value {
    return isString(value) && !isCaseSensitive ? string(value.value.toLowerCase()) : value;
}

const sort: Filter = (value, args, keywords) => {
    const attribute = argument(args, keywords, 2, "attribute");
    const isCaseSensitive = isTrue(argument(args, keywords, 1, "case_sensitive"));
    const key = (item: Value) =>
        folded(attribute === undefined || isNone(attribute) ? item : attributeOf(item, attribute), isCaseSensitive);
    const sign = isTrue(argument(args, keywords, 0, "reverse")) ? -1 : 1;
    return list([...itemsOf(value)].sort((a, b) => sign * compare(key(a), key(b))));
};

const indent: Filter = (value, args, keywords) => {
    const width = argument(args, keywords, 0, "width") ?? integer(4);
    const space = isString(width) ? width.value : " ".repeat(Number(width.value));
    const isBlank = isTrue(argument(args, keywords, 2, "blank"));
    // as in Jinja, the last line may end with a break
    const lines = splitLines(`${str(value)}\n`);
    const rest = lines.slice(1).map((line) => (line === "" && !isBlank ? line : space + line));
    const first = isTrue(argument(args, keywords, 1, "first")) ? space : "";
    return string(first + [lines[0], ...rest].join("\n"));
};

/** Some of the items, by a test of each or of one of its attributes. */
function choose(isWanted: boolean, ofAttribute: boolean): Filter {
    return (value, args) => {
        if (!isTrue(value)) return list([]);
        const [name, ...rest] = ofAttribute ? args.slice(1) : args;
        const test = name === undefined ? (item: Value) => isTrue(item) : testOf(str(name));
        const of = (item: Value) => (ofAttribute ? attributeOf(item, args[0] ?? undefinedValue) : item);
        return list(itemsOf(value).filter((item) => test(of(item), rest[0]) === isWanted));
    };
}

const map: Filter = (value, [name, ...args], keywords) => {
    if (!isTrue(value)) return list([]);
    const attribute = keywords.get("attribute");
    if (attribute !== undefined) {
        const otherwise = keywords.get("default");
        return list(itemsOf(value).map((item) => orUndefined(attributeOf(item, attribute), otherwise)));
    }
    const filter = name !== undefined && Object.hasOwn(filters, str(name)) ? filters[str(name)] : undefined;
    return filter && list(itemsOf(value).map((item) => filter(item, args, keywords) ?? undefinedValue));
};

const orUndefined = (value: Value, otherwise: Value | undefined) =>
    isUndefined(value) && otherwise !== undefined ? otherwise : value;

/** The smallest item, or the largest. */
function outermost(sign: number): Filter {
    return (value, args, keywords) => {
        const isCaseSensitive = isTrue(argument(args, keywords, 0, "case_sensitive"));
        const attribute = argument(args, keywords, 1, "attribute");
        const key = (item: Value) =>
            folded(attribute === undefined ? item : attributeOf(item, attribute), isCaseSensitive);
        const before = (a: Value, b: Value) => sign * compare(key(a), key(b)) < 0;
        const [first, ...rest] = itemsOf(value);
        return rest.reduce((best, item) => (before(item, best) ? item : best), first ?? undefinedValue);
    };
}

/** Filters in which the library differs from Python's Jinja. */
export const filters: Readonly<Record<string, Filter>> = {
    tojson,
    int: toInteger,
    float: toFloat,
    default: orElse,
    d: orElse,
    sort,
    indent,
    string: (value) => string(str(value)),
    safe: (value) => markup(str(value)),
    map,
    select: choose(true, false),
    reject: choose(false, false),
    selectattr: choose(true, true),
    rejectattr: choose(false, true),
    min: outermost(1),
    max: outermost(-1),
    trim: (value, args, keywords) => string(strip(str(value), argument(args, keywords, 0, "chars"), "both")),
    capitalize: (value) => string(capitalize(str(value))),
    upper: (value) => string(str(value).toUpperCase()),
    lower: (value) => string(str(value).toLowerCase()),
    first: (value) => itemsOf(value)[0] ?? undefinedValue,
    last: (value) => itemsOf(value).at(-1) ?? undefinedValue,
    length: (value) => integer(length(value)),
    count: (value) => integer(length(value)),
    list: (value) => list(itemsOf(value)),
    reverse: (value) =>
        isString(value) ? string(codePoints(value.value).reverse().join("")) : list([...itemsOf(value)].reverse()),
    items: (value) => {
        if (isUndefined(value)) return list([]);
        if (!isDict(value)) throw new Error(`items: ${typeName(value)} is no mapping`);
        return itemsOfDict(value.value);
    },
    join: (value, args, keywords) => {
        const attribute = argument(args, keywords, 1, "attribute");
        const items = itemsOf(value).map((item) => (attribute === undefined ? item : attributeOf(item, attribute)));
        return string(items.map(str).join(str(argument(args, keywords, 0, "d") ?? string(""))));
    },
    unique: (value) => {
        const found: Value[] = [];
        for (const item of itemsOf(value))
            if (!found.some((other) => equals(folded(other, false), folded(item, false)))) found.push(item);
        return list(found);
    },
    round: (value, args) => {
        const number = numberOf(value);
        // others need a rule for halves
        if (number === undefined || args.length > 0) return undefined;
        if (!isFloat(value)) return integer(number);
        const [low, rest] = [Math.floor(number), number - Math.floor(number)];
        return float(rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low);
    },
    title: (value) => {
        const words = str(value).split(/([-\s({[<]+)/);
        return string(words.map(capitalize).join(""));
    },
    dictsort: (value, args, keywords) => {
        if (!isDict(value)) return undefined;
        const isCaseSensitive = isTrue(argument(args, keywords, 0, "case_sensitive"));
        const by = argument(args, keywords, 1, "by");
        const place = by !== undefined && str(by) === "value" ? 1 : 0;
        const sign = isTrue(argument(args, keywords, 2, "reverse")) ? -1 : 1;
        const key = (item: Value) => folded(itemsOf(item)[place]!, isCaseSensitive);
        return list([...itemsOf(itemsOfDict(value.value))].sort((a, b) => sign * compare(key(a), key(b))));
    },
    sum: (value) => {
        const numbers = itemsOf(value).map((item) => numberOf(item));
        if (numbers.includes(undefined)) throw new Error("sum: not all items are numbers");
        const total = numbers.reduce<number>((sum, number) => sum + number!, 0);
        return itemsOf(value).some(isFloat) ? float(total) : integer(total);
    }
};
