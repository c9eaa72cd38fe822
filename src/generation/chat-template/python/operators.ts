import {
    boolean,
    compare,
    equals,
    escapeMarkup,
    float,
    integer,
    isDict,
    isFloat,
    isInteger,
    isList,
    isMarkup,
    isNone,
    isString,
    isTuple,
    isUndefined,
    keyOf,
    list,
    markup,
    numberOf,
    str,
    string,
    tuple,
    typeName,
    type Value
} from "./values.js";

const orders: Readonly<Record<string, (order: number) => boolean>> = {
    "<": (order) => order < 0,
    ">": (order) => order > 0,
    "<=": (order) => order <= 0,
    ">=": (order) => order >= 0
};

/**
 * The result of an operator in Python.
 * @returns undefined for an operator that the library computes as Python does
 * @throws {Error} for values that Python refuses, too
 */
export function operate(operator: string, left: Value, right: Value): Value | undefined {
    switch (operator) {
        case "==":
            return boolean(equals(left, right));
        case "!=":
            return boolean(!equals(left, right));
        case "~":
            return string(str(left) + str(right));
        case "in":
            return boolean(isIn(left, right));
        case "not in":
            return boolean(!isIn(left, right));
        case "**":
            return undefined;
    }
    const order = orders[operator];
    if (order !== undefined) return boolean(order(compare(left, right)));
    return arithmetic(operator, left, right) ?? joined(operator, left, right) ?? refuse(operator, left, right);
}

function isIn(item: Value, container: Value): boolean {
    if (isList(container)) return container.value.some((each) => equals(each, item));
    if (isDict(container)) return container.value.has(keyOf(item));
    if (isString(container) && isString(item)) return container.value.includes(item.value);
    return isUndefined(container) ? false : refuse("in", item, container);
}

function arithmetic(operator: string, left: Value, right: Value): Value | undefined {
    const [a, b] = [numberOf(left), numberOf(right)];
    if (a === undefined || b === undefined) return undefined;
    const isWhole = !isFloat(left) && !isFloat(right);
    const result = (value: number) => (isWhole ? integer(value) : float(value));
    if (b === 0 && ["/", "//", "%"].includes(operator)) throw new Error("division by zero");
    switch (operator) {
        case "+":
            return result(a + b);
        case "-":
            return result(a - b);
        case "*":
            return result(a * b);
        case "/":
            return float(a / b);
        case "//":
            return result(Math.floor(a / b));
        case "%":
            // the sign of the divisor
            return result(a - b * Math.floor(a / b));
        default:
            return undefined;
    }
}

/** Texts and lists are added to their like, and repeated. */
function joined(operator: string, left: Value, right: Value): Value | undefined {
    if (operator === "+") {
        if (isString(left) && isString(right) && (isMarkup(left) || isMarkup(right)))
            return markup(
                [left, right].map((each) => (isMarkup(each) ? each.value : escapeMarkup(each.value))).join("")
            );
        if (isString(left) && isString(right)) return string(left.value + right.value);
        if (isTuple(left) && isTuple(right)) return tuple([...left.value, ...right.value]);
        if (isList(left) && isList(right) && isTuple(left) === isTuple(right))
            return list([...left.value, ...right.value]);
    }
    if (operator !== "*") return undefined;
    const [repeated, count] = isInteger(left) ? [right, left] : [left, right];
    if (!isInteger(count)) return undefined;
    const times = Math.max(0, count.value);
    if (isString(repeated)) return string(repeated.value.repeat(times));
    return isList(repeated) ? list(Array.from({ length: times }, () => repeated.value).flat()) : undefined;
}

function refuse(operator: string, left: Value, right: Value): never {
    const format = operator === "%" && isString(left) ? "; a format with `%` is not supported" : "";
    const what = [left, right].map((value) => (isNone(value) ? "None" : typeName(value))).join(" and ");
    throw new Error(`\`${operator}\` is not possible between ${what}${format}`);
}
