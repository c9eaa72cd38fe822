import { WorkerLimitError, WorkerQueue } from "../../../util/WorkerQueue.js";
import { ApiError, unsupported } from "../../errors.js";
import { longNumbersOf, type ParsedJson } from "../../parse-json.js";
import { type CompileOptions, checkSize, compileSchema } from "./compile.js";
import { type Part, Rules, type RulesData } from "./gbnf.js";
import { stepsAtOnce, Work } from "./Work.js";

/** A schema of a request. */
export interface GivenSchema extends CompileOptions {
    readonly schema: unknown;
}

/** A grammar with the rules of several schemas. */
export interface CompiledSchemas {
    readonly rules: Rules;
    /** The part of the grammar for each schema. */
    readonly roots: readonly Part[];
}

/** Schemas for {@link compileTogether} in a worker. */
export interface CompileRequest {
    /** The schemas, without the options. */
    readonly schemas: ParsedJson;
    readonly options: readonly CompileOptions[];
}

export type CompileAnswer =
    | { readonly rules: RulesData; readonly roots: readonly Part[] }
    | { readonly status: number; readonly message: string; readonly details: ApiError["details"] };

/** Time that the schemas of one request may take; their steps take a hundredth of it. Unit: milliseconds. */
const timeoutMs = 10_000;

const queue = new WorkerQueue<CompileRequest, CompileAnswer>(new URL("./compile-worker.js", import.meta.url), {
    timeoutMs
});

/**
 * Compiles schemas to one grammar. Those that take more than a few milliseconds are compiled in a worker thread.
 * @throws {ApiError} if a schema cannot become a grammar
 * @throws the signal's reason if it is aborted
 */
export async function compileAll(given: readonly GivenSchema[], signal: AbortSignal): Promise<CompiledSchemas> {
    for (const { schema, param } of given) checkSize(schema, param);
    const work = new Work(stepsAtOnce);
    try {
        return compileTogether(given, new Rules(work));
    } catch (error) {
        if (!work.isSpent) throw error;
    }
    const schemas = given.map(({ schema }) => schema);
    const options = given.map(({ schema: _, ...rest }) => rest);
    const request = { schemas: { value: schemas, long: longNumbersOf(schemas) }, options };
    const answer = await queue.run(request, { signal }).catch((error) => {
        if (!(error instanceof WorkerLimitError)) throw error;
        throw unsupported(given[0]!.param, `\`${given[0]!.param}\` is too costly to compile: ${error.message}`);
    });
    if ("status" in answer) throw new ApiError(answer.status, answer.message, answer.details);
    return { rules: Rules.from(answer.rules), roots: answer.roots };
}

/** @throws {ApiError} if a schema cannot become a grammar */
export function compileTogether(given: readonly GivenSchema[], rules: Rules): CompiledSchemas {
    return { rules, roots: given.map(({ schema, ...options }) => compileSchema(schema, options, rules).root) };
}
