import { Interpreter } from "@huggingface/jinja";
import { dictMethods } from "./dict-methods.js";
import { filters } from "./filters.js";
import { operate } from "./operators.js";
import { type Keywords, stringMethods } from "./strings.js";
import { testOf } from "./tests.js";
import {
    boolean,
    callable,
    codePoints,
    dict,
    integer,
    isCallable,
    isDict,
    isInteger,
    isString,
    isUndefined,
    itemsOf,
    keyOf,
    newScope,
    none,
    type Scope,
    str,
    string,
    undefinedValue,
    type Value
} from "./values.js";

type Node = { readonly type: string } & Readonly<Record<string, unknown>>;
type Name = Node & { readonly value: string };

/** The library's class, with what it does not declare as public. */
const Base = Interpreter as unknown as new (
    scope: Scope
) => {
    run(program: unknown): Value;
    evaluate(statement: unknown, scope: Scope): Value;
    evaluateBlock(statements: unknown, scope: Scope): Value;
    evaluateArguments(args: unknown, scope: Scope): [Value[], Map<string, Value>];
};

/** `{% break %}` or `{% continue %}`, with what the iteration has written before it. */
class LoopControl extends Error {
    text = "";

    constructor(readonly isBreak: boolean) {
        super("`break` and `continue` belong into a loop");
    }
}

/** Statements without a value to write. */
const silent = new Set(["Set", "Macro", "Comment"]);

/** What a filter takes an undefined value for. */
const ofUndefined: Readonly<Record<string, Value>> = {
    dictsort: dict(new Map()),
    replace: string("")
};

/**
 * Evaluates templates as Python's Jinja does where the library differs: it writes values in JavaScript's form, compares
 * them loosely, keeps variables of one iteration for the next, and leaves arguments of some methods out.
 */
export class PythonInterpreter extends Base {
    override evaluate(statement: unknown, scope: Scope): Value {
        const node = statement as Node | undefined;
        switch (node?.type) {
            case "Constant":
                return node.value as Value;
            case "ObjectLiteral": {
                const entries = [...(node.value as ReadonlyMap<unknown, unknown>)];
                const pair = ([key, value]: readonly [unknown, unknown]) =>
                    [keyOf(this.evaluate(key, scope)), this.evaluate(value, scope)] as const;
                return dict(new Map(entries.map(pair)));
            }
            case "For":
                return this.loop(node, scope);
            case "Break":
            case "Continue":
                throw new LoopControl(node.type === "Break");
            case "Macro":
                return this.macro(node, scope);
            case "FilterExpression":
                return this.filter(node, scope);
            case "TestExpression":
                return this.test(node, scope);
            case "MemberExpression":
                return this.member(node, scope);
            case "BinaryExpression":
                return this.binary(node, scope);
            default:
                return super.evaluate(statement, scope);
        }
    }

    override evaluateBlock(statements: unknown, scope: Scope): Value {
        let text = "";
        try {
            for (const statement of statements as readonly Node[]) {
                const value = this.evaluate(statement, scope);
                if (!silent.has(statement.type)) text += str(value);
            }
        } catch (error) {
            if (error instanceof LoopControl) error.text = text + error.text;
            throw error;
        }
        return string(text);
    }

    /** What the library computes with a value in place of an expression. */
    private library(node: Node, changed: Readonly<Record<string, Value>>, scope: Scope): Value {
        const constants = Object.entries(changed).map(([key, value]) => [key, { type: "Constant", value }]);
        return super.evaluate({ ...node, ...Object.fromEntries(constants) }, scope);
    }

    private filter(node: Node, scope: Scope): Value {
        const { operand, filter } = node as Node & { filter: Node };
        const name = (filter.type === "CallExpression" ? (filter.callee as Name) : (filter as Name)).value;
        const value = this.evaluate(operand, scope);
        const known = Object.hasOwn(filters, name) ? filters[name] : undefined;
        const [args, keywords] =
            known !== undefined && filter.type === "CallExpression"
                ? this.evaluateArguments(filter.args, scope)
                : [[], new Map()];
        const result = known?.(value, args, keywords);
        if (result !== undefined) return result;
        const isEmpty = isUndefined(value) && Object.hasOwn(ofUndefined, name);
        return this.library(node, { operand: isEmpty ? ofUndefined[name]! : value }, scope);
    }

    private test(node: Node, scope: Scope): Value {
        const operand = this.evaluate(node.operand, scope);
        return boolean(testOf((node.test as Name).value)(operand) !== (node.negate === true));
    }

    private binary(node: Node, scope: Scope): Value {
        const { value: operator } = node.operator as Name;
        if (operator === "and" || operator === "or") return super.evaluate(node, scope);
        const left = this.evaluate(node.left, scope);
        const right = this.evaluate(node.right, scope);
        return operate(operator, left, right) ?? this.library(node, { left, right }, scope);
    }

    private member(node: Node, scope: Scope): Value {
        const object = this.evaluate(node.object, scope);
        const property = node.property as Node;
        const isComputed = node.computed === true;
        if (isComputed && property.type === "SliceExpression") return this.library(node, { object }, scope);
        const key = isComputed
            ? this.evaluate(property, scope)
            : property.type === "IntegerLiteral"
              ? integer(property.value as number)
              : string((property as Name).value);
        if (isString(object) && isInteger(key)) {
            const character = codePoints(object.value).at(key.value);
            return character === undefined ? undefinedValue : string(character);
        }
        if (isString(object) && isString(key) && Object.hasOwn(stringMethods, key.value)) {
            const method = stringMethods[key.value]!;
            return callable((args) => {
                const last = args.at(-1);
                const keywords = last?.type === "KeywordArgumentsValue" ? (last.value as Keywords) : undefined;
                return method(object.value, keywords === undefined ? args : args.slice(0, -1), keywords ?? new Map());
            });
        }
        if (isDict(object)) {
            if (isInteger(key)) return object.value.get(keyOf(key)) ?? undefinedValue;
            // of the same name, `a.items` is the method and `a['items']` the entry
            const entry = isString(key) ? object.value.get(key.value) : undefined;
            const method = isString(key) ? dictMethods[key.value]?.(object.value) : undefined;
            return (isComputed ? (entry ?? method) : (method ?? entry)) ?? undefinedValue;
        }
        return this.library({ ...node, computed: true }, { object, property: key }, scope);
    }

    /** Each iteration has variables of its own. */
    private loop(node: Node, scope: Scope): Value {
        const { loopvar, body, defaultBlock } = node as Node & { loopvar: Node };
        let iterable = node.iterable as Node;
        let condition: unknown;
        if (iterable.type === "SelectExpression") {
            condition = iterable.test;
            iterable = iterable.lhs as Node;
        }
        const bind = (item: Value) => {
            const inner = newScope(scope);
            if (loopvar.type === "Identifier") inner.setVariable((loopvar as Name).value, item);
            else {
                const names = loopvar.value as Name[];
                const parts = itemsOf(item);
                if (parts.length !== names.length)
                    throw new Error(`a loop takes ${names.length} values from an item that has ${parts.length}`);
                for (const [i, name] of names.entries()) inner.setVariable(name.value, parts[i]!);
            }
            return inner;
        };
        const items = itemsOf(this.evaluate(iterable, scope)).filter(
            (item) => condition === undefined || this.evaluate(condition, bind(item)).__bool__().value
        );
        let text = "";
        // as in Jinja, `else` also follows a loop of which no iteration came to its end
        let isEmpty = true;
        for (const [i, item] of items.entries()) {
            const inner = bind(item);
            inner.setVariable("loop", loopValue(items, i));
            try {
                text += this.evaluateBlock(body, inner).value;
                isEmpty = false;
            } catch (error) {
                if (!(error instanceof LoopControl)) throw error;
                text += error.text;
                if (error.isBreak) break;
            }
        }
        return string(isEmpty ? text + this.evaluateBlock(defaultBlock, scope).value : text);
    }

    /** A macro sees the variables of the place where it is defined, and the `caller` of its call. */
    private macro(node: Node, scope: Scope): Value {
        const { value: name } = node.name as Name;
        super.evaluate(node, scope);
        const defined = scope.lookupVariable(name) as Value;
        if (isCallable(defined))
            scope.setVariable(
                name,
                callable((args, from) => {
                    const inner = newScope(scope);
                    const caller = from.variables.get("caller");
                    if (caller !== undefined) inner.setVariable("caller", caller);
                    return defined.value(args, inner);
                })
            );
        return none;
    }
}

function loopValue(items: readonly Value[], i: number): Value {
    const { length } = items;
    return dict(
        new Map([
            ["index", integer(i + 1)],
            ["index0", integer(i)],
            ["revindex", integer(length - i)],
            ["revindex0", integer(length - i - 1)],
            ["first", boolean(i === 0)],
            ["last", boolean(i === length - 1)],
            ["length", integer(length)],
            ["previtem", items[i - 1] ?? undefinedValue],
            ["nextitem", items[i + 1] ?? undefinedValue],
            ["depth", integer(1)],
            ["depth0", integer(0)],
            ["cycle", callable((choices) => choices[i % choices.length] ?? undefinedValue)]
        ])
    );
}
