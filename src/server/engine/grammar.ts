import type { Llama, LlamaGrammar, LlamaModel } from "../../../plugin/index.js";
import { TokenBytes } from "../../generation/TokenBytes.js";
import { badParameter } from "../errors.js";
import { compileSchema } from "./json-schema/compile.js";
import { type Part, Rules } from "./json-schema/gbnf.js";

/**
 * The grammar of a schema's values.
 * @throws {ApiError} if the schema cannot become a grammar
 */
export async function grammarForSchema(llama: Llama, schema: unknown, param: string): Promise<LlamaGrammar> {
    const { root, rules } = compileSchema(schema, { param });
    return await createGrammar(llama, rules, root, param);
}

/** The grammar of any JSON object. */
export async function grammarForObject(llama: Llama): Promise<LlamaGrammar> {
    const rules = new Rules();
    const { root } = compileSchema({}, { param: "response_format", object: true }, rules);
    return await createGrammar(llama, rules, root, "response_format");
}

/** @throws {ApiError} if llama.cpp refuses the grammar */
export async function createGrammar(llama: Llama, rules: Rules, root: Part, param: string): Promise<LlamaGrammar> {
    try {
        return await llama.createGrammar({ grammar: rules.print(root) });
    } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw badParameter(param, `\`${param}\` cannot be made into a grammar: ${reason}`);
    }
}

/**
 * A completed grammar allows nothing but an end-of-generation token.
 * @throws {ApiError} if the vocabulary has none
 */
export function checkEnds(model: LlamaModel, param: string): void {
    const ends = [...TokenBytes.of(model).specialTokens.values()].some((token) => model.isEogToken(token));
    if (!ends) throw badParameter(param, `\`${param}\` needs a model whose vocabulary has an end-of-generation token`);
}
