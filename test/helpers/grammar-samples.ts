import { Ajv, type AnySchema } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { getLlama, type Llama, LlamaLogLevel } from "../../plugin/index.js";
import { compileSchema } from "../../src/server/engine/json-schema/compile.js";
import { ApiError } from "../../src/server/errors.js";
import { GrammarSampler } from "./gbnf.js";

const options = { strict: false, logger: false } as const;
const validators = { "draft-2020-12": new Ajv2020(options), "draft-7": new Ajv(options) };
for (const ajv of Object.values(validators)) {
    addFormats.default(ajv);
    ajv.removeKeyword("multipleOf").addKeyword({ keyword: "multipleOf", type: "number", validate: isMultipleOf });
}

/** Allows for the rounding of both numbers and of their quotient: by ajv's own rule, 0.07 is not a multiple of 0.01. */
function isMultipleOf(divisor: number, value: number): boolean {
    const quotient = value / divisor;
    return Math.abs(Math.round(quotient) - quotient) <= Math.abs(quotient) * 2 ** -51;
}

let llama: Promise<Llama> | undefined;
const openLlama = () => (llama ??= getLlama({ logLevel: LlamaLogLevel.disabled, maxThreads: 1 }));

/** The parameter that errors of these schemas name. */
export const param = "schema";

export function grammarOf(schema: unknown): string {
    const { root, rules } = compileSchema(schema, { param });
    return rules.print(root);
}

/** Whether llama.cpp lets a text through a grammar. */
export async function acceptorOf(grammar: string): Promise<(text: string) => boolean> {
    const native = await (await openLlama()).createGrammar({ grammar });
    return (text) => (native as unknown as { _testText(text: string): boolean })._testText(text);
}

/** Draws texts of a schema's grammar, and fails for one that is not JSON or not valid. */
export async function checkSamples(
    schema: unknown,
    seed: number,
    count: number,
    draft: keyof typeof validators = "draft-2020-12"
): Promise<string[]> {
    const grammar = grammarOf(schema);
    const isCompatible = await acceptorOf(grammar);
    const sampler = new GrammarSampler(grammar);
    const ajv = validators[draft];
    const validate = ajv.compile(schema as AnySchema);
    const generator = random(seed);
    return Array.from({ length: count }, () => {
        const text = sampler.sample(generator);
        if (!isCompatible(text)) throw new Error(`llama.cpp refuses ${text}`);
        if (!validate(JSON.parse(text))) throw new Error(`${text}: ${ajv.errorsText(validate.errors)}`);
        return text;
    });
}

/** Whether ajv finds a value valid. */
export function validatorOf(schema: unknown): (value: unknown) => boolean {
    const validate = validators["draft-2020-12"].compile(schema as AnySchema);
    return (value) => validate(value) === true;
}

/** Mulberry32. */
export function random(seed: number): (count: number) => number {
    let state = seed;
    return (count) => {
        state = (state + 0x6d2b79f5) | 0;
        let value = Math.imul(state ^ (state >>> 15), 1 | state);
        value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
        return Math.floor((((value ^ (value >>> 14)) >>> 0) / 2 ** 32) * count);
    };
}

/** The error for a schema that must be refused. */
export function refusal(schema: unknown): ApiError {
    try {
        grammarOf(schema);
    } catch (error) {
        if (error instanceof ApiError) return error;
        throw error;
    }
    throw new Error(`not refused: ${JSON.stringify(schema)}`);
}
