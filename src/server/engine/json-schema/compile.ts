import { LosslessNumber, stringify } from "lossless-json";
import { unsupported } from "../../errors.js";
import { Ambiguity } from "./Ambiguity.js";
import { areDisjoint } from "./disjoint.js";
import { choice, empty, GrammarSizeError, literal, type Part, Rules, repeat, sequence } from "./gbnf.js";
import { JsonParts, maxRepetitions } from "./json-parts.js";
import { mergeSchemas } from "./merge.js";
import { isNumberFormat } from "./number-formats.js";
import { isNumberWithin, numberAutomaton, numberKeywordsOf } from "./number-grammar.js";
import { AutomatonSizeError } from "./regular/Automaton.js";
import { printAutomaton } from "./regular/print-automaton.js";
import {
    assertionsOf,
    checkSchema,
    equalityKey,
    isNever,
    isObject,
    type Kind,
    keywordsOf,
    kindOf,
    kinds,
    numberOf,
    resolveReference,
    type Schema
} from "./Schema.js";
import { sizeOf } from "./size-of.js";
import { patternAutomaton, stringAutomaton } from "./strings.js";
import { spend, WorkError } from "./Work.js";

/** Limits that no sensible schema reaches. They keep a grammar small enough to compile within milliseconds. */
const maxDepth = 32;
const maxSchemas = 2000;
const maxAllRepetitions = 10_000;
/** Texts with a larger limit are kept to this one. */
const maxCharacters = 1_000_000;
const maxSchemaSize = 2 ** 20;
const maxUnique = 64;

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
    checkSize(schema, param);
    try {
        return rules.work.during(() => new SchemaCompiler(checkSchema(schema, param), rules, options).compile());
    } catch (error) {
        if (error instanceof WorkError) throw unsupported(param, `\`${param}\` takes too long to compile to a grammar`);
        const isTooLarge = error instanceof GrammarSizeError || error instanceof AutomatonSizeError;
        if (!isTooLarge) throw error;
        throw unsupported(param, `\`${param}\` is too large for a grammar`);
    }
}

/** @throws {ApiError} if the schema is too large */
export function checkSize(schema: unknown, param: string): void {
    if (sizeOf(schema, maxSchemaSize) > maxSchemaSize)
        throw unsupported(param, `\`${param}\` is larger than ${maxSchemaSize} bytes`);
}

class SchemaCompiler {
    private readonly json: JsonParts;
    private readonly ambiguity = new Ambiguity();
    private readonly references = new Map<string, Compiled>();
    private readonly parts = new Map<string, Part>();
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
        const { param } = place;
        const own = isObject(root) ? assertionsOf(root) : {};
        if (root !== false && Object.keys(own).length === 0) return this.kind("object", {}, place);
        if ("type" in own) {
            if (![own.type].flat().includes("object"))
                throw unsupported(
                    `${param}.type`,
                    `\`${param}.type\` must be "object", since the arguments of a call are one`
                );
            return this.schema({ ...own, type: "object" }, place);
        }
        const merged = root === false ? root : mergeSchemas(root, [own, { type: "object" }], param);
        if (merged === undefined)
            throw unsupported(param, `\`${param}\` accepts no object, and the arguments of a call are one`);
        return this.schema(merged, place);
    }

    private schema(value: unknown, place: Place): Compiled {
        const { param, depth } = place;
        const schema = checkSchema(value, param);
        this.schemas++;
        spend(100);
        if (depth > maxDepth || this.schemas > maxSchemas)
            throw unsupported(param, `the schema is larger than ${maxDepth} levels or ${maxSchemas} parts`);
        if (schema === false) throw unsupported(param, `\`${param}\` is false, which accepts no value`);
        const own = schema === true ? {} : assertionsOf(schema);
        if (Object.keys(own).length === 0) return this.anything();
        if ("allOf" in own || ("$ref" in own && Object.keys(own).length > 1)) return this.all(own, place);
        for (const key of ["anyOf", "oneOf"] as const)
            if (key in own && Object.keys(own).some((other) => other !== key)) return this.each(key, own, place);
        for (const key of ["$ref", "const", "enum", "anyOf", "oneOf"] as const)
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

    /** A value that several schemas must accept. */
    private all(own: Record<string, unknown>, { param, depth }: Place): Compiled {
        const merged = mergeSchemas(this.root, [own], param);
        if (merged === undefined) throw unsupported(`${param}.allOf`, `\`${param}\` accepts no value`);
        return this.schema(merged, { param, depth: depth + 1 });
    }

    /** Alternatives with other keywords, which hold for each of them. */
    private each(key: "anyOf" | "oneOf", own: Record<string, unknown>, { param, depth }: Place): Compiled {
        const { [key]: list, ...rest } = own;
        if (!Array.isArray(list)) throw unsupported(`${param}.${key}`, `\`${param}.${key}\` must be a list of schemas`);
        const joined = list.map((item, i) => {
            const schema = checkSchema(item, `${param}.${key}.${i}`);
            return mergeSchemas(this.root, [schema, rest], `${param}.${key}.${i}`) ?? false;
        });
        return this.schema({ [key]: joined }, { param, depth: depth + 1 });
    }

    private by(
        key: "$ref" | "const" | "enum" | "anyOf" | "oneOf",
        own: Record<string, unknown>,
        place: Place
    ): Compiled {
        const { param } = place;
        const value = own[key];
        const takesOthers = key === "const" || key === "enum";
        for (const other of Object.keys(own))
            if (other !== key && !(takesOthers && (other === "type" || allKeywords.has(other))))
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

    private alternatives(key: "anyOf" | "oneOf", value: unknown, place: Place): Compiled {
        const param = `${place.param}.${key}`;
        if (!Array.isArray(value) || value.length === 0)
            throw unsupported(param, `\`${param}\` must be a list of schemas`);
        const schemas = value.map((item, i) => checkSchema(item, `${param}.${i}`));
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
        const valid = this.ofType(values, own, place).filter((value) => this.isValid(value, own, place));
        const param = `${place.param}.${key}`;
        if (valid.length === 0) throw unsupported(param, `no value of \`${param}\` is valid by the rest of the schema`);
        const texts = [...new Set(valid.map((value) => stringify(value)!))];
        spend(texts.reduce((size, text) => size + 5 + text.length / 5, 0));
        const part = this.rules.add(choice(...texts.map(literal)));
        return { part, node: this.ambiguity.union(texts.map((text) => this.ambiguity.value(text))) };
    }

    /** The values of `const` or `enum` that have the schema's `type`. */
    private ofType(values: readonly unknown[], own: Record<string, unknown>, place: Place): unknown[] {
        const allowed = "type" in own ? this.kindsOf({ type: own.type }, place) : kinds;
        return values.filter((value) => {
            const kind = kindOf(value);
            return allowed.includes(kind) || (kind === "integer" && allowed.includes("number"));
        });
    }

    /** Whether a value of `const` or `enum` is what the other keywords allow. */
    private isValid(value: unknown, own: Record<string, unknown>, place: Place): boolean {
        const { param } = place;
        const kind = kindOf(value);
        const about = pick(own, kind);
        if (Object.keys(about).length === 0) return true;
        switch (kind) {
            case "string": {
                const { pattern = [], format } = about;
                const [min = 0, max] = this.counts(about, place, "minLength", "maxLength");
                return this.fits(value as string, { pattern, format, min, max }, param);
            }
            case "integer":
            case "number": {
                const keywords = numberKeywordsOf(about, param);
                return Object.keys(keywords).length === 0 || isNumberWithin(value, keywords, param);
            }
            default: {
                const name = Object.keys(about)[0]!;
                throw unsupported(
                    `${param}.${name}`,
                    `the schema keyword \`${name}\` is not supported together with \`const\` or \`enum\``
                );
            }
        }
    }

    /** The kinds in `type`, or those that the other keywords apply to. */
    private kindsOf(own: Record<string, unknown>, { param }: Place): readonly Kind[] {
        const { type, ...about } = own;
        let found: readonly Kind[];
        if (type === undefined)
            found = kinds.filter((kind) => Object.keys(about).some((key) => isAbout(kind, key, about)));
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
        // a keyword of other kinds has no effect
        for (const key of Object.keys(about))
            if (!allKeywords.has(key))
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
            case "integer": {
                const own = numberKeywordsOf(about, place.param);
                const part = Object.keys(own).length === 0 ? this.json[kind] : this.number(kind, own, place);
                return { part, node: this.ambiguity.value("0") };
            }
            case "boolean":
                return { part: this.rules.add(this.json.boolean), node: this.ambiguity.value("t") };
            case "null":
                return { part: this.json.null, node: this.ambiguity.value("n") };
        }
    }

    private number(kind: "integer" | "number", about: Record<string, unknown>, { param }: Place): Part {
        return this.once([kind, about], () => printAutomaton(numberAutomaton(kind, about, param), this.rules, false));
    }

    private string(about: Record<string, unknown>, place: Place): Part {
        const { pattern = [], format } = about;
        const [min = 0, max] = this.counts(about, place, "minLength", "maxLength");
        if (format === undefined && about.pattern === undefined) return this.rules.add(this.json.stringOf(min, max));
        return this.once([about], () => this.quoted({ pattern, format, min, max }, [], place.param));
    }

    /** A string with a pattern or a format. */
    private quoted(about: StringKeywords, except: readonly string[], param: string): Part {
        const all = this.strings(about, except, param);
        return this.rules.add(sequence(literal('"'), printAutomaton(all, this.rules, true), literal('"')));
    }

    private fits(text: string, about: StringKeywords, param: string): boolean {
        return this.strings(about, [], param).accepts(text);
    }

    private strings({ pattern = [], format, min, max }: StringKeywords, except: readonly string[], param: string) {
        const patterns = [pattern].flat().map((each) => {
            if (typeof each === "string") return each;
            throw unsupported(`${param}.pattern`, `\`${param}.pattern\` must be a regular expression`);
        });
        const given = format === undefined ? undefined : String(format);
        return stringAutomaton({ patterns, format: given, min, max, except }, param);
    }

    /** A part that is made once for equal keywords. */
    private once(keywords: readonly unknown[], make: () => Part): Part {
        const key = stringify(keywords)!;
        spend(key.length / 10);
        const part = this.parts.get(key) ?? make();
        this.parts.set(key, part);
        return part;
    }

    private array(about: Record<string, unknown>, place: Place): Compiled {
        const { param } = place;
        // in drafts before 2020-12, a list of `items` is what `prefixItems` is now
        const isOld = Array.isArray(about.items);
        const { prefixItems = [] } = isOld ? { prefixItems: about.items } : about;
        const items = isOld ? about.additionalItems : about.items;
        const { uniqueItems } = about;
        const [min = 0, max] = this.counts(about, place, "minItems", "maxItems");
        if (!Array.isArray(prefixItems))
            throw unsupported(`${param}.prefixItems`, "`prefixItems` must be a list of schemas");
        if (uniqueItems !== undefined && uniqueItems !== false && max !== 0 && max !== 1)
            return this.uniqueArray(items, prefixItems, [min, max], place);
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
        return { part: this.rules.add(part), node: this.ambiguity.value("[", children, children.slice(0, min)) };
    }

    /** Items that can be counted are different: the grammar writes each at most once, in the schema's order. */
    private uniqueArray(
        items: unknown,
        prefixItems: readonly unknown[],
        [min, max]: readonly [number, number | undefined],
        place: Place
    ): Compiled {
        const param = `${place.param}.uniqueItems`;
        const merged = isObject(items) ? (mergeSchemas(this.root, [items], param) ?? {}) : {};
        const { enum: listed, const: single, type: _type, ...others } = merged;
        const values = "const" in merged ? [single] : listed;
        const isCounted =
            prefixItems.length === 0 && Object.keys(others).length === 0 && !(listed && "const" in merged);
        if (!isCounted || !Array.isArray(values) || values.length > maxUnique)
            throw unsupported(
                param,
                `\`uniqueItems\` is supported for items with a \`const\`, or an \`enum\` of at most ${maxUnique} ` +
                    "values, and no other keyword except `type`"
            );
        const valid = this.ofType(values, merged, place);
        const different = new Map(valid.map((value) => [equalityKey(value), stringify(value)!]));
        const { space } = this.json;
        const members = [...different.values()].map((text) => ({
            pair: this.rules.add(sequence(literal(text), space)),
            isRequired: false
        }));
        const content = new Members(this.rules, space, members, undefined).print(min, max);
        if (content === undefined)
            throw unsupported(`${place.param}.minItems`, "`minItems` is larger than the number of different items");
        const part = this.rules.add(sequence(literal("["), space, content, literal("]")));
        return { part, node: this.ambiguity.value("[", []) };
    }

    private object(about: Record<string, unknown>, place: Place): Compiled {
        const { param } = place;
        const { properties = {}, required = [], patternProperties = {}, propertyNames } = about;
        if (!isObject(patternProperties))
            throw unsupported(`${param}.patternProperties`, "`patternProperties` must be an object");
        const patterns = Object.keys(patternProperties);
        // without more said, the names that match a pattern are enough
        const { additionalProperties = patterns.length > 0 ? false : undefined } = about;
        if (!isObject(properties)) throw unsupported(`${param}.properties`, "`properties` must be an object");
        if (!Array.isArray(required) || !required.every((name) => typeof name === "string"))
            throw unsupported(`${param}.required`, "`required` must be a list of names");
        const names = new Set(Object.keys(properties));
        spend(10 * (names.size + required.length));
        const needed = new Set<string>(required);
        const isOpen = additionalProperties !== undefined ? additionalProperties !== false : names.size === 0;
        const extra = isOpen
            ? this.schema(additionalProperties ?? true, inner(place, "additionalProperties"))
            : undefined;
        const matched = patterns.map((pattern) => ({
            pattern,
            ...this.schema(patternProperties[pattern], inner(place, `patternProperties.${pattern}`))
        }));
        const children = [...(extra === undefined ? [] : [extra]), ...matched].map(({ node }) => node);
        const members: Member[] = [];
        const neededNodes: number[] = [];
        const namePatterns = patterns.map((pattern) => patternAutomaton(pattern, `${param}.patternProperties`));
        for (const name of new Set([...names, ...needed])) {
            // JavaScript validators find names such as `constructor` in every object, so they are always written
            const isRequired = needed.has(name) || name in Object.prototype;
            const given = names.has(name) ? properties[name] : (additionalProperties ?? true);
            const value = isNever(given) ? false : given;
            const also = patterns.filter((_, i) => namePatterns[i]!.accepts(name));
            if (also.length > 0)
                throw unsupported(
                    `${param}.patternProperties`,
                    `\`${also[0]}\` in \`patternProperties\` matches the name \`${name}\`, which is not supported`
                );
            if (name === "__proto__" && additionalProperties !== undefined && additionalProperties !== true)
                throw unsupported(
                    `${param}.properties.${name}`,
                    `validators in JavaScript take \`${name}\` for an additional property; name it otherwise`
                );
            if (value === false) {
                if (!isRequired) continue;
                if (needed.has(name))
                    throw unsupported(`${param}.required`, `\`${name}\` is required, but its schema accepts no value`);
                throw unsupported(
                    `${param}.properties.${name}`,
                    `validators in JavaScript find \`${name}\` in every object, and its schema accepts no value`
                );
            }
            const compiled =
                names.has(name) || extra === undefined ? this.schema(value, inner(place, `properties.${name}`)) : extra;
            children.push(compiled.node);
            if (isRequired) neededNodes.push(compiled.node);
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
        const pairOf = (key: Part, value: Part) => sequence(key, space, literal(":"), space, value, space);
        const known = [...new Set([...names, ...needed])];
        const ways = matched.map(({ pattern, part }) =>
            pairOf(this.keyMatching(pattern, patterns, known, `${param}.patternProperties`), part)
        );
        if (extra !== undefined) {
            if (patterns.length > 0 && propertyNames !== undefined)
                throw unsupported(
                    `${param}.propertyNames`,
                    "`propertyNames` beside `patternProperties` is not supported"
                );
            const key =
                patterns.length > 0
                    ? this.keyMatching(undefined, patterns, known, `${param}.patternProperties`)
                    : this.keyOf(propertyNames, known, place);
            if (key !== undefined) ways.push(pairOf(key, extra.part));
        }
        const more = ways.length === 0 ? undefined : this.rules.add(choice(...ways));
        const content = new Members(this.rules, space, members, more).print(min, max);
        if (content === undefined)
            throw unsupported(
                `${param}.${min > 0 ? "minProperties" : "maxProperties"}`,
                "a grammar cannot guarantee the number of members that the schema requires"
            );
        const part = this.rules.add(sequence(literal("{"), space, content, literal("}")));
        if (min > neededNodes.length) neededNodes.push(this.ambiguity.union(children));
        return { part, node: this.ambiguity.value("{", children, neededNodes) };
    }

    /** Names that match one of the patterns alone, or none of them. */
    private keyMatching(
        wanted: string | undefined,
        patterns: readonly string[],
        names: readonly string[],
        param: string
    ): Part {
        let all = stringAutomaton({ patterns: [], format: undefined, min: 0, max: undefined, except: names }, param);
        for (const pattern of patterns) {
            const matching = patternAutomaton(pattern, param);
            all = all.and(pattern === wanted ? matching : matching.not());
        }
        if (all.isEmpty) throw unsupported(param, `\`${param}\` leaves no name for a member`);
        return this.rules.add(sequence(literal('"'), printAutomaton(all, this.rules, true), literal('"')));
    }

    /** The names of additional members. */
    private keyOf(propertyNames: unknown, names: readonly string[], place: Place): Part | undefined {
        const param = `${place.param}.propertyNames`;
        const merged = mergeSchemas(this.root, [checkSchema(propertyNames ?? true, param)], param);
        const { type = ["string"], ...rest } = merged ?? { not: true };
        const values = "const" in rest ? [rest.const] : rest.enum;
        const { enum: _enum, const: _const, pattern, format, minLength, maxLength, ...others } = rest;
        if (!(type as unknown[]).includes("string") || Object.keys(others).length > 0)
            throw unsupported(
                param,
                "`propertyNames` is supported with `enum`, `const`, `pattern`, `format` and lengths only"
            );
        const isFree = pattern === undefined && format === undefined;
        if (values === undefined && isFree && minLength === undefined && maxLength === undefined)
            return names.length === 0 ? this.json.string : this.json.keyExcept(names);
        if (values === undefined) {
            const [min = 0, max] = this.counts(rest, { ...place, param }, "minLength", "maxLength");
            const wrong = names.find((name) => !this.fits(name, { pattern, format, min, max }, param));
            if (wrong !== undefined) throw unsupported(param, `\`propertyNames\` does not allow \`${wrong}\``);
            return this.quoted({ pattern: pattern ?? [], format, min, max }, names, param);
        }
        if (!isFree || minLength !== undefined || maxLength !== undefined)
            throw unsupported(param, "`propertyNames` with `enum` and other keywords is not supported");
        const texts = (Array.isArray(values) ? values : []).filter((value) => typeof value === "string");
        const wrong = names.find((name) => !texts.includes(name));
        if (wrong !== undefined) throw unsupported(param, `\`propertyNames\` does not allow \`${wrong}\``);
        const left = texts.filter((text) => !names.includes(text));
        // all names have their members
        if (left.length === 0) return undefined;
        return this.rules.add(choice(...left.map((text) => literal(JSON.stringify(text)))));
    }

    /** @throws {ApiError} if a count is invalid, or if the minimum is above the maximum */
    private counts(
        about: Record<string, unknown>,
        { param }: Place,
        ...keys: readonly [min: string, max: string]
    ): (number | undefined)[] {
        const [min, max] = keys.map((key, i) => {
            if (about[key] === undefined) return undefined;
            // 3.0 is an integer, too
            const value = about[key] instanceof LosslessNumber ? numberOf(about[key]) : about[key];
            // an upper limit may be larger than what the grammar counts
            const isUpper = i === 1;
            if (!Number.isInteger(value) || (value as number) < 0 || (!isUpper && (value as number) > maxRepetitions))
                throw unsupported(
                    `${param}.${key}`,
                    `\`${param}.${key}\` must be an integer from 0${isUpper ? "" : ` to ${maxRepetitions}`}`
                );
            const counted = Math.min(value as number, isUpper && key !== "maxLength" ? maxRepetitions : maxCharacters);
            this.repetitions += Math.min(counted, maxRepetitions);
            return counted;
        });
        if (this.repetitions > maxAllRepetitions)
            throw unsupported(param, `the lengths in the schema add up to more than ${maxAllRepetitions}`);
        if (min !== undefined && max !== undefined && min > max)
            throw unsupported(`${param}.${keys[0]}`, `\`${param}.${keys[0]}\` is larger than \`${keys[1]}\``);
        return [min, max];
    }
}

type StringKeywords = { pattern?: unknown; format?: unknown; min: number; max: number | undefined };

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

/** Whether a keyword of a schema without `type` is about a kind of value. */
function isAbout(kind: Kind, key: string, { format }: Record<string, unknown>): boolean {
    if (key === "format") return isNumberFormat(format) ? kind === "number" || kind === "integer" : kind === "string";
    return keywordsOf[kind].includes(key);
}

const allKeywords = new Set(Object.values(keywordsOf).flat());

function pick(own: Record<string, unknown>, kind: Kind): Record<string, unknown> {
    return Object.fromEntries(Object.entries(own).filter(([key]) => keywordsOf[kind].includes(key)));
}

function inner({ param, depth }: Place, name: string): Place {
    return { param: `${param}.${name}`, depth: depth + 1 };
}
