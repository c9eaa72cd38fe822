import type { Llama, LlamaGrammar, LlamaModel } from "../../../plugin/index.js";
import { TokenBytes } from "../../generation/TokenBytes.js";
import { badParameter } from "../errors.js";
import { compileSchema } from "./json-schema/compile.js";
import { type Part, Rules } from "./json-schema/gbnf.js";

/** A format for the text of an answer: any JSON object, or the values of a schema. */
export type Format =
    | { readonly type: "json_object" }
    | {
          readonly type: "json_schema";
          readonly schema: unknown;
          /** Parameter of the request with the schema, for errors. */
          readonly param: string;
      };

/** The grammar of a format. */
export interface FormatGrammar {
    readonly grammar: LlamaGrammar;
    /** Adds the grammar to other rules. */
    addTo(rules: Rules): Part;
}

/**
 * The grammar of a format.
 * @throws {ApiError} if the schema cannot become a grammar
 */
export async function formatGrammar(llama: Llama, format: Format, param: string): Promise<FormatGrammar> {
    const addTo = (rules: Rules) =>
        format.type === "json_object"
            ? compileSchema({}, { param, object: true }, rules).root
            : compileSchema(format.schema, { param: format.param }, rules).root;
    const rules = new Rules();
    return { grammar: await createGrammar(llama, rules, addTo(rules), param), addTo };
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
