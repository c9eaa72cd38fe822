import { setImmediate } from "node:timers/promises";
import type { Llama, LlamaGrammar, LlamaModel } from "../../../plugin/index.js";
import { TokenBytes } from "../../generation/TokenBytes.js";
import { badParameter } from "../errors.js";
import { compileAll, type GivenSchema } from "./json-schema/compile-all.js";
import type { Part, Rules } from "./json-schema/gbnf.js";

/** A format for the text of an answer: any JSON object, or the values of a schema. */
export type Format =
    | { readonly type: "json_object" }
    | {
          readonly type: "json_schema";
          readonly schema: unknown;
          /** Parameter of the request with the schema, for errors. */
          readonly param: string;
      };

/** The schema of a format. */
export function schemaOf(format: Format, param: string): GivenSchema {
    return format.type === "json_object"
        ? { schema: {}, param, object: true }
        : { schema: format.schema, param: format.param };
}

/**
 * The grammar of a format.
 * @throws {ApiError} if the schema cannot become a grammar
 */
export async function formatGrammar(
    llama: Llama,
    format: Format,
    param: string,
    signal: AbortSignal
): Promise<LlamaGrammar> {
    const { rules, roots } = await compileAll([schemaOf(format, param)], signal);
    return await createGrammar(llama, rules, roots[0]!, param);
}

/**
 * Lets others run first, since llama.cpp parses a large grammar on the event loop.
 * @throws {ApiError} if llama.cpp refuses the grammar
 */
export async function createGrammar(llama: Llama, rules: Rules, root: Part, param: string): Promise<LlamaGrammar> {
    await setImmediate();
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
