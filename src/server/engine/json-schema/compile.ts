import { stringify } from "lossless-json";
import { unsupported } from "../../errors.js";
import { Ambiguity } from "./Ambiguity.js";
import { areDisjoint } from "./disjoint.js";
import { formats } from "./formats.js";
import { choice, empty, GrammarSizeError, literal, type Part, Rules, repeat, sequence } from "./gbnf.js";
import { JsonParts } from "./json-parts.js";
import {
    assertionsOf,
    checkSchema,
    isObject,
    type Kind,
    keywordsOf,
    kindOf,
    kinds,
    resolveReference,
    type Schema
} from "./Schema.js";

/** Bounds that no sensible schema meets. They keep a grammar small enough to be made within milliseconds. */
const maxDepth = 32;
const maxSchemas = 2000;
const maxRepetitions = 1000;
const maxAllRepetitions = 10_000;
const maxSchemaSize = 2 ** 20;

/** A schema's part of the grammar, and what {@link Ambiguity} knows of it. */
type Compiled = { readonly part: Part; readonly node: number };

/** Where in a request a schema stands. */
type Place = { readonly param: string; readonly depth: number };

export interface CompileOptions {
    /** The parameter that the schema came in, for errors. */
    param: string;
    /** Whether the value has to be an object whatever the schema says, as the arguments of a call do. Default: `false`. */
    object?: boolean;
}

/** A grammar of which the rules of a schema are a part. */
export interface SchemaGrammar {
    /** What the schema's values are written as. */
    readonly root: Part;
    readonly rules: Rules;
}

/**
 * Makes a grammar of a JSON schema. Whatever the grammar lets through is JSON that is valid by the schema; not every valid value has to be let through. What a
 * grammar cannot keep to is refused by name.
 * @throws {ApiError}
 */
export function compileSchema(schema: unknown, options: CompileOptions, rules = new Rules()): SchemaGrammar {
    const { param } = options;
    if (sizeOf(schema) > maxSchemaSize) throw unsupported(param, `\`${param}\` is larger than ${maxSchemaSize} bytes`);
    try {
        return new SchemaCompiler(checkSchema(schema, param), rules, options).compile();
    } catch (error) {
        if (!(error instanceof GrammarSizeError)) throw error;
        throw unsupported(param, `\`${param}\` is too large for a grammar`);
    }
}

class SchemaCompiler {
    private readonly json: JsonParts;
    private readonly ambiguity = new Ambiguity();
    private readonly references = new Map<string, Compiled>();
    private schemas = 0;
    private repetitions = 0;
    /** For `oneOf`. */
    comparisons = 0;

    constructor(
        private readonly root: Schema,
        private readonly rules: Rules,
        private readonly options: CompileOptions
    ) {
        this.json = new JsonParts(rules);
    }

    compile(): SchemaGrammar {
        const { param, object = false } = this.options;
        const place = { param, depth: 0 };
        const { part } = object ? this.compileObjectSchema(place) : this.schema(this.root, place);
        this.ambiguity.check(param);
        return { root: part, rules: this.rules };
    }

    private compileObjectSchema(place: Place): Compiled {
        const { root } = this;
        if (root === true) return this.kind("object", {}, place);
        const type = isObject(root) ? root.type : undefined;
        const isOpen = isObject(root) && type === undefined && Object.keys(assertionsOf(root)).length === 0;
        if (isOpen) return this.kind("object", {}, place);
        if (type !== undefined && type !== "object")
            throw unsupported(`${place.param}.type`, `\`${place.param}.type\` has to be "object": a call takes one`);
        return this.schema(root, place);
    }

    private schema(value: unknown, place: Place): Compiled {
        const { param, depth } = place;
        const schema = checkSchema(value, param);
        this.schemas++;
        if (depth > maxDepth || this.schemas > maxSchemas)
            throw unsupported(param, `the schema is larger than ${maxDepth} levels or ${maxSchemas} parts`);
        if (schema === false) throw unsupported(param, `\`${param}\` is false, which no value is valid for`);
        const own = schema === true ? {} : assertionsOf(schema);
        if (Object.keys(own).length === 0) return this.anything();
        for (const key of ["$ref", "const", "enum", "anyOf", "oneOf", "allOf"] as const)
            if (key in own) return this.by(key, own, place);
        const found = this.kindsOf(own, place);
        const parts = found.map((kind) => this.kind(kind, pick(own, kind), place));
        return parts.length === 1 ? parts[0]! : this.union(parts);
    }

    private anything(): Compiled {
        const starts = ["{", "[", '"', "0", "t", "n"];
        return {
            part: this.json.value,
            node: this.ambiguity.union(starts.map((start) => this.ambiguity.value(start)))
        };
    }

    private union(parts: readonly Compiled[]): Compiled {
        return {
            part: this.rules.add(choice(...parts.map(({ part }) => part))),
            node: this.ambiguity.union(parts.map(({ node }) => node))
        };
    }

    private by(
        key: "$ref" | "const" | "enum" | "anyOf" | "oneOf" | "allOf",
        own: Record<string, unknown>,
        place: Place
    ): Compiled {
        const { param } = place;
        const value = own[key];
        for (const other of Object.keys(own))
            if (other !== key && !(other === "type" && (key === "const" || key === "enum")))
                throw unsupported(
                    `${param}.${other}`,
                    `the schema keyword \`${other}\` is not supported beside \`${key}\``
                );
        switch (key) {
            case "$ref":
                return this.reference(value, place);
            case "const":
                return this.values([value], own, place, "const");
            case "enum":
                if (!Array.isArray(value) || value.length === 0 || value.length > maxSchemas)
                    throw unsupported(`${param}.enum`, `\`enum\` has to be a list of 1 to ${maxSchemas} values`);
                return this.values(value, own, place, "enum");
            default:
                return this.alternatives(key, value, place);
        }
    }

    private alternatives(key: "anyOf" | "oneOf" | "allOf", value: unknown, place: Place): Compiled {
        const param = `${place.param}.${key}`;
        if (!Array.isArray(value) || value.length === 0)
            throw unsupported(param, `\`${param}\` has to be a list of schemas`);
        const schemas = value.map((item, i) => checkSchema(item, `${param}.${i}`));
        if (key === "allOf" && schemas.length > 1)
            throw unsupported(param, "`allOf` is supported with one schema only");
        if (key === "oneOf")
            for (const [i, a] of schemas.entries())
                for (const [j, b] of schemas.slice(0, i).entries())
                    if (!areDisjoint(this.root, a, b, this))
                        throw unsupported(
                            param,
                            `\`${param}\` has two schemas, ${j} and ${i}, that one value may be valid for; use \`anyOf\``
                        );
        // a schema that nothing is valid for is no alternative
        const possible = schemas.flatMap((schema, i) =>
            schema === false ? [] : [this.schema(schema, inner(place, `${key}.${i}`))]
        );
        if (possible.length === 0) throw unsupported(param, `no value is valid for \`${param}\``);
        return possible.length === 1 ? possible[0]! : this.union(possible);
    }

    private reference(value: unknown, place: Place): Compiled {
        const { schema, pointer } = resolveReference(this.root, value, place.param);
        const known = this.references.get(pointer);
        if (known !== undefined) return known;
        const reserved: Compiled = { part: this.rules.reserve(), node: this.ambiguity.union([]) };
        this.references.set(pointer, reserved);
        const { part, node } = this.schema(schema, inner(place, "$ref"));
        this.rules.set(reserved.part, part);
        this.ambiguity.link(reserved.node, node);
        return reserved;
    }

    private values(
        values: readonly unknown[],
        own: Record<string, unknown>,
        place: Place,
        key: "const" | "enum"
    ): Compiled {
        const allowed = "type" in own ? this.kindsOf({ type: own.type }, place) : kinds;
        const valid = values.filter((value) => {
            const kind = kindOf(value);
            return allowed.includes(kind) || (kind === "integer" && allowed.includes("number"));
        });
        const param = `${place.param}.${key}`;
        if (valid.length === 0) throw unsupported(param, `no value of \`${param}\` is of the type of the schema`);
        const texts = [...new Set(valid.map((value) => stringify(value)!))];
        const part = this.rules.add(choice(...texts.map(literal)));
        return { part, node: this.ambiguity.union(texts.map((text) => this.ambiguity.value(text))) };
    }

    /** The kinds that `type` names, or those that the other keywords are about. */
    private kindsOf(own: Record<string, unknown>, { param }: Place): readonly Kind[] {
        const { type, ...about } = own;
        let found: readonly Kind[];
        if (type === undefined)
            found = kinds.filter((kind) => Object.keys(about).some((key) => keywordsOf[kind].includes(key)));
        else {
            found = [type].flat() as Kind[];
            for (const kind of found)
                if (!kinds.includes(kind))
                    throw unsupported(
                        `${param}.type`,
                        `\`${param}.type\` has to name JSON types, got ${JSON.stringify(kind)}`
                    );
            if (found.length === 0) throw unsupported(`${param}.type`, `\`${param}.type\` names no type`);
        }
        const known = new Set(found.flatMap((kind) => keywordsOf[kind]));
        for (const key of Object.keys(about))
            if (!known.has(key))
                throw unsupported(`${param}.${key}`, `the schema keyword \`${key}\` is not supported here`);
        return [...new Set(found)];
    }

    private kind(kind: Kind, about: Record<string, unknown>, place: Place): Compiled {
        switch (kind) {
            case "object":
                return this.object(about, place);
            case "array":
                return this.array(about, place);
            case "string":
                return { part: this.string(about, place), node: this.ambiguity.value('"') };
            case "number":
            case "integer":
                return { part: this.json[kind], node: this.ambiguity.value("0") };
            case "boolean":
                return { part: this.rules.add(this.json.boolean), node: this.ambiguity.value("t") };
            case "null":
                return { part: this.json.null, node: this.ambiguity.value("n") };
        }
    }

    private string(about: Record<string, unknown>, place: Place): Part {
        const [min = 0, max] = this.counts(about, place, "minLength", "maxLength");
        if (about.format === undefined) return this.rules.add(this.json.stringOf(min, max));
        const format = formats.get(String(about.format));
        const param = `${place.param}.format`;
        if (format === undefined)
            throw unsupported(param, `the formats ${[...formats.keys()].join(", ")} are supported`);
        if (about.minLength !== undefined || about.maxLength !== undefined)
            throw unsupported(param, "`format` is not supported beside a length");
        return this.rules.add(sequence(literal('"'), this.rules.add(format), literal('"')));
    }

    private array(about: Record<string, unknown>, place: Place): Compiled {
        const { items, prefixItems = [], uniqueItems } = about;
        const { param } = place;
        const [min = 0, max] = this.counts(about, place, "minItems", "maxItems");
        if (!Array.isArray(prefixItems))
            throw unsupported(`${param}.prefixItems`, "`prefixItems` has to be a list of schemas");
        if (uniqueItems !== undefined && uniqueItems !== false && max !== 0 && max !== 1)
            throw unsupported(`${param}.uniqueItems`, "`uniqueItems` is not supported: a grammar cannot compare items");
        const first = prefixItems.map((item, i) => this.schema(item, inner(place, `prefixItems.${i}`)));
        const isClosed = items === false;
        if (isClosed && min > first.length)
            throw unsupported(`${param}.minItems`, "`minItems` asks for more items than there may be");
        const more = isClosed ? undefined : this.schema(items ?? true, inner(place, "items"));
        const part = this.json.listOf(
            first.map((item) => item.part),
            more?.part,
            min,
            max
        );
        const children = [...first, ...(more === undefined ? [] : [more])].map(({ node }) => node);
        return { part: this.rules.add(part), node: this.ambiguity.value("[", children) };
    }

    private object(about: Record<string, unknown>, place: Place): Compiled {
        const { param } = place;
        const { properties = {}, required = [], additionalProperties, propertyNames } = about;
        if (!isObject(properties)) throw unsupported(`${param}.properties`, "`properties` has to be an object");
        if (!Array.isArray(required) || !required.every((name) => typeof name === "string"))
            throw unsupported(`${param}.required`, "`required` has to be a list of names");
        const names = new Set(Object.keys(properties));
        const isOpen = additionalProperties !== undefined ? additionalProperties !== false : names.size === 0;
        const extra = isOpen
            ? this.schema(additionalProperties ?? true, inner(place, "additionalProperties"))
            : undefined;
        const children = extra === undefined ? [] : [extra.node];
        const members: Member[] = [];
        for (const name of new Set([...names, ...required])) {
            // JavaScript validators find names such as `constructor` in every object, so they are always written
            const isRequired = required.includes(name) || name in Object.prototype;
            const value = names.has(name) ? properties[name] : (additionalProperties ?? true);
            if (value === false) {
                if (!required.includes(name)) continue;
                throw unsupported(`${param}.required`, `\`${name}\` is required, and no value is valid for it`);
            }
            const compiled =
                names.has(name) || extra === undefined ? this.schema(value, inner(place, `properties.${name}`)) : extra;
            children.push(compiled.node);
            const { space } = this.json;
            const pair = sequence(literal(JSON.stringify(name)), space, literal(":"), space, compiled.part, space);
            members.push({ pair: this.rules.add(pair), isRequired });
        }
        const [min = 0, max] = this.counts(about, place, "minProperties", "maxProperties");
        if (extra === undefined && propertyNames !== undefined && propertyNames !== true)
            throw unsupported(
                `${param}.propertyNames`,
                "`propertyNames` is supported beside `additionalProperties` only"
            );
        const { space } = this.json;
        const more =
            extra &&
            this.rules.add(
                sequence(
                    this.keyOf(propertyNames, [...names, ...required], place),
                    space,
                    literal(":"),
                    space,
                    extra.part,
                    space
                )
            );
        const content = new Members(this.rules, space, members, more).print(min, max);
        if (content === undefined)
            throw unsupported(
                `${param}.${min > 0 ? "minProperties" : "maxProperties"}`,
                "the number of members that the schema asks for cannot be guaranteed"
            );
        const part = this.rules.add(sequence(literal("{"), space, content, literal("}")));
        return { part, node: this.ambiguity.value("{", children) };
    }

    /** The names that members beyond those of the schema may have. */
    private keyOf(propertyNames: unknown, names: readonly string[], place: Place): Part {
        const param = `${place.param}.propertyNames`;
        const { type, ...rest } =
            propertyNames === undefined || propertyNames === true
                ? {}
                : isObject(propertyNames)
                  ? assertionsOf(propertyNames)
                  : { not: propertyNames };
        const values = "const" in rest ? [rest.const] : rest.enum;
        const others = Object.keys(rest).filter((key) => key !== "enum" && key !== "const");
        if ((type !== undefined && type !== "string") || others.length > 0)
            throw unsupported(param, "`propertyNames` is supported with `enum` and `const` only");
        if (values === undefined) return names.length === 0 ? this.json.string : this.json.keyExcept(names);
        const texts = (Array.isArray(values) ? values : []).filter((value) => typeof value === "string");
        const wrong = names.find((name) => !texts.includes(name));
        if (wrong !== undefined) throw unsupported(param, `\`propertyNames\` does not allow \`${wrong}\``);
        const left = texts.filter((text) => !names.includes(text));
        if (left.length === 0) throw unsupported(param, "`propertyNames` leaves no name for other members");
        return this.rules.add(choice(...left.map((text) => literal(JSON.stringify(text)))));
    }

    /** @throws {ApiError} for numbers that are none, or that contradict each other */
    private counts(
        about: Record<string, unknown>,
        { param }: Place,
        ...keys: readonly [min: string, max: string]
    ): (number | undefined)[] {
        const [min, max] = keys.map((key) => {
            const value = about[key];
            if (value === undefined) return undefined;
            if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > maxRepetitions)
                throw unsupported(
                    `${param}.${key}`,
                    `\`${param}.${key}\` has to be an integer from 0 to ${maxRepetitions}`
                );
            this.repetitions += value as number;
            return value as number;
        });
        if (this.repetitions > maxAllRepetitions)
            throw unsupported(param, `the lengths in the schema add up to more than ${maxAllRepetitions}`);
        if (min !== undefined && max !== undefined && min > max)
            throw unsupported(`${param}.${keys[0]}`, `\`${param}.${keys[0]}\` is larger than \`${keys[1]}\``);
        return [min, max];
    }
}

type Member = { readonly pair: Part; readonly isRequired: boolean };

/** The members of an object in their order; optional ones may be left out, and others may follow. */
class Members {
    private readonly known = new Map<string, Part | undefined>();

    constructor(
        private readonly rules: Rules,
        private readonly space: Part,
        private readonly members: readonly Member[],
        private readonly extra: Part | undefined
    ) {}

    /** @returns undefined where no object has so many members */
    print(min: number, max: number | undefined): Part | undefined {
        const isFree = max === undefined || (this.extra === undefined && max >= this.members.length);
        return this.from(0, true, min, isFree ? undefined : max);
    }

    private from(index: number, isFirst: boolean, min: number, max: number | undefined): Part | undefined {
        const key = [index, isFirst, min, max].join();
        if (!this.known.has(key)) this.known.set(key, this.build(index, isFirst, min, max));
        return this.known.get(key);
    }

    private build(index: number, isFirst: boolean, min: number, max: number | undefined): Part | undefined {
        const member = this.members[index];
        if (member === undefined) return this.extras(isFirst, min, max);
        const rest =
            max === 0
                ? undefined
                : this.from(index + 1, false, Math.max(0, min - 1), max === undefined ? undefined : max - 1);
        const taken = rest === undefined ? undefined : this.rules.add(sequence(this.comma(isFirst), member.pair, rest));
        const left = member.isRequired ? undefined : this.from(index + 1, isFirst, min, max);
        if (taken === undefined || left === undefined) return taken ?? left;
        return this.rules.add(choice(taken, left));
    }

    private extras(isFirst: boolean, min: number, max: number | undefined): Part | undefined {
        if (this.extra === undefined || max === 0) return min > 0 ? undefined : empty;
        // two members of one name count once, and a grammar cannot compare names
        if (min > 1) return undefined;
        const next = this.rules.add(sequence(literal(","), this.space, this.extra));
        if (!isFirst) return repeat(next, min, max);
        const all = sequence(this.extra, repeat(next, 0, max === undefined ? undefined : max - 1));
        return min > 0 ? all : repeat(this.rules.add(all), 0, 1);
    }

    private comma(isFirst: boolean): Part {
        return isFirst ? empty : sequence(literal(","), this.space);
    }
}

function pick(own: Record<string, unknown>, kind: Kind): Record<string, unknown> {
    return Object.fromEntries(Object.entries(own).filter(([key]) => keywordsOf[kind].includes(key)));
}

function inner({ param, depth }: Place, name: string): Place {
    return { param: `${param}.${name}`, depth: depth + 1 };
}

/** Characters of a JSON value, as far as they matter: counting stops beyond the limit. */
function sizeOf(value: unknown): number {
    let size = 0;
    const add = (item: unknown): void => {
        if (size > maxSchemaSize) return;
        size += typeof item === "string" ? item.length : 1;
        if (typeof item !== "object" || item === null) return;
        for (const [key, inside] of Object.entries(item)) {
            size += key.length;
            add(inside);
        }
    };
    add(value);
    return size;
}
