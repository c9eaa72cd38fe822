import type { Template } from "@huggingface/jinja";
import { strftime } from "../strftime.js";
import { PythonInterpreter } from "./PythonInterpreter.js";
import {
    callable,
    dict,
    integer,
    isInteger,
    list,
    newScope,
    str,
    string,
    toValue,
    typeName,
    type Value
} from "./values.js";

/** Renders a template as transformers does in Python. */
export function renderTemplate({ parsed }: Template, variables: Readonly<Record<string, unknown>>): string {
    const scope = newScope();
    for (const [name, value] of Object.entries({ true: true, false: false, none: null })) {
        scope.set(name, value);
        scope.set(name[0]!.toUpperCase() + name.slice(1), value);
    }
    const functions: Readonly<Record<string, (args: readonly Value[]) => Value>> = {
        raise_exception: ([message]) => {
            throw new Error(message === undefined ? "" : str(message));
        },
        range,
        strftime_now: ([format]) => string(strftime(new Date(), format === undefined ? "" : str(format))),
        dict: ([entries]) => dict(entries === undefined ? new Map() : (entries.value as Map<string, Value>))
    };
    for (const [name, run] of Object.entries(functions)) scope.setVariable(name, callable(run));
    // a variable of the chat may have the name of a function
    for (const [name, value] of Object.entries(variables)) scope.setVariable(name, toValue(value));
    return str(new PythonInterpreter(scope).run(parsed));
}

function range(args: readonly Value[]): Value {
    const numbers = args.map((value) => {
        if (isInteger(value)) return value.value;
        throw new Error(`range takes integers, not ${typeName(value)}`);
    });
    const [start, stop, step = 1] = numbers.length === 1 ? [0, numbers[0]!] : (numbers as [number, number, number?]);
    if (step === 0) throw new Error("range: the step is 0");
    const items: Value[] = [];
    for (let i = start; step > 0 ? i < stop : i > stop; i += step) items.push(integer(i));
    return list(items);
}
