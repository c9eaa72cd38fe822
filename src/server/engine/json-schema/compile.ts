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
import { sizeOf } from "./size-of.js";

/** Limits that no sensible schema reaches. They keep a grammar small enough to compile within milliseconds. */
const maxDepth = 32;
const maxSchemas = 2000;
const maxRepetitions = 1000;
const maxAllRepetitions = 10_000;
const maxSchemaSize = 2 ** 20;

/** A schema's part of the grammar, and its node in {@link Ambiguity}. */
type Compiled = { readonly part: Part; readonly node: number };

/** Place of a schema in the request. */
type Place = { readonly param: string; readonly depth: number };

export interface CompileOptions {
    /** Parameter of the request that contains the schema, for errors. */
    param: string;
    /** Whether the value must be an object, as the arguments of a call must. Default: `false`. */
    object?: boolean;
}

/** A grammar that contains the rules of a schema. */
export interface SchemaGrammar {
    /** The part of the grammar for the schema's values. */
    readonly root: Part;
    readonly rules: Rules;
}

/**
 * Compiles a JSON schema to a grammar. Every text that the grammar accepts is JSON that the schema accepts. The grammar
 * may accept fewer values than the schema. Keywords that a grammar cannot guarantee are refused by name.
 * @throws {ApiError}
 */
export function compileSchema(schema: unknown, options: CompileOptions, rules = new Rules()): SchemaGrammar {
    const { param } = options;
    if (sizeOf(schema, maxSchemaSize) > maxSchemaSize)
        throw unsupported(param, `\`${param}\` is larger than ${maxSchemaSize} bytes`);
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
    /** Comparisons of alternatives in `oneOf`. */
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
            throw unsupported(
                `${place.param}.type`,
                `\`${place.param}.type\` must be "object", since the arguments of a call are one`
            );
        return this.schema(root, place);
    }

    private schema(value: unknown, place: Place): Compiled {
        const { param, depth } = place;
        const schema = checkSchema(value, param);
        this.schemas++;
        if (depth > maxDepth || this.schemas > maxSchemas)
            throw unsupported(param, `the schema is larger than ${maxDepth} levels or ${maxSchemas} parts`);
        if (schema === false) throw unsupported(param, `\`${param}\` is false, which accepts no value`);
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
                    `the schema keyword \`${other}\` is not supported together with \`${key}\``
                );
        switch (key) {
            case "$ref":
                return this.reference(value, place);
            case "const":
                return this.values([value], own, place, "const");
            case "enum":
                if (!Array.isArray(value) || value.length === 0 || value.length > maxSchemas)
                    throw unsupported(`${param}.enum`, `\`enum\` must be a list of 1 to ${maxSchemas} values`);
                return this.values(value, own, place, "enum");
            default:
                return this.alternatives(key, value, place);
        }
    }

    private alternatives(key: "anyOf" | "oneOf" | "allOf", value: unknown, place: Place): Compiled {
        const param = `${place.param}.${key}`;
        if (!Array.isArray(value) || value.length === 0)
            throw unsupported(param, `\`${param}\` must be a list of schemas`);
        const schemas = value.map((item, i) => checkSchema(item, `${param}.${i}`));
        if (key === "allOf" && schemas.length > 1)
            throw unsupported(param, "`allOf` is supported with one schema only");
        if (key === "oneOf")
            for (const [i, a] of schemas.entries())
                for (const [j, b] of schemas.slice(0, i).entries())
                    if (!areDisjoint(this.root, a, b, this))
                        throw unsupported(
                            param,
                            `\`${param}\` has two schemas, ${j} and ${i}, that may accept the same value; use \`anyOf\``
                        );
        // `false` accepts no value, so it is not an alternative
        const possible = schemas.flatMap((schema, i) =>
            schema === false ? [] : [this.schema(schema, inner(place, `${key}.${i}`))]
        );
        if (possible.length === 0) throw unsupported(param, `\`${param}\` accepts no value`);
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
        if (valid.length === 0) throw unsupported(param, `no value of \`${param}\` has the type of the schema`);
        const texts = [...new Set(valid.map((value) => stringify(value)!))];
        const part = this.rules.add(choice(...texts.map(literal)));
        return { part, node: this.ambiguity.union(texts.map((text) => this.ambiguity.value(text))) };
    }

    /** The kinds in `type`, or those that the other keywords apply to. */
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
                        `\`${param}.type\` must be JSON types, got ${JSON.stringify(kind)}`
                    );
            if (found.length === 0) throw unsupported(`${param}.type`, `\`${param}.type\` is empty`);
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
            throw unsupported(param, "`format` is not supported together with a length");
        return this.rules.add(sequence(literal('"'), this.rules.add(format), literal('"')));
    }

    private array(about: Record<string, unknown>, place: Place): Compiled {
        const { items, prefixItems = [], uniqueItems } = about;
        const { param } = place;
        const [min = 0, max] = this.counts(about, place, "minItems", "maxItems");
        if (!Array.isArray(prefixItems))
            throw unsupported(`${param}.prefixItems`, "`prefixItems` must be a list of schemas");
        if (uniqueItems !== undefined && uniqueItems !== false && max !== 0 && max !== 1)
            throw unsupported(`${param}.uniqueItems`, "`uniqueItems` is not supported: a grammar cannot compare items");
        const first = prefixItems.map((item, i) => this.schema(item, inner(place, `prefixItems.${i}`)));
        const isClosed = items === false;
        if (isClosed && min > first.length)
            throw unsupported(`${param}.minItems`, "`minItems` requires more items than the schema allows");
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
        if (!isObject(properties)) throw unsupported(`${param}.properties`, "`properties` must be an object");
        if (!Array.isArray(required) || !required.every((name) => typeof name === "string"))
            throw unsupported(`${param}.required`, "`required` must be a list of names");
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
                throw unsupported(`${param}.required`, `\`${name}\` is required, but its schema accepts no value`);
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
                "`propertyNames` is supported together with `additionalProperties` only"
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
                "a grammar cannot guarantee the number of members that the schema requires"
            );
        const part = this.rules.add(sequence(literal("{"), space, content, literal("}")));
        return { part, node: this.ambiguity.value("{", children) };
    }

    /** The names of additional members. */
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

    /** @throws {ApiError} if a count is invalid, or if the minimum is above the maximum */
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
                    `\`${param}.${key}\` must be an integer from 0 to ${maxRepetitions}`
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

/** The members of an object in the schema's order. Optional ones may be missing, and additional ones may follow. */
class Members {
    private readonly known = new Map<string, Part | undefined>();

    constructor(
        private readonly rules: Rules,
        private readonly space: Part,
        private readonly members: readonly Member[],
        private readonly extra: Part | undefined
    ) {}

    /** @returns undefined if no object has so many members */
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
        // members with the same name count once, and a grammar cannot compare names
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
