import { parentPort } from "node:worker_threads";
import { ApiError } from "../../errors.js";
import { withLongNumbers } from "../../parse-json.js";
import { type CompileAnswer, type CompileRequest, compileTogether } from "./compile-all.js";
import { Rules } from "./gbnf.js";

function answer({ schemas, options }: CompileRequest): CompileAnswer {
    const values = withLongNumbers(schemas) as readonly unknown[];
    try {
        const given = options.map((each, i) => ({ ...each, schema: values[i] }));
        const { rules, roots } = compileTogether(given, new Rules());
        return { rules: rules.data, roots };
    } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        const { status, message, details } = error;
        return { status, message, details };
    }
}

parentPort!.on("message", (request: CompileRequest) => {
    parentPort!.postMessage(answer(request));
});
parentPort!.postMessage("ready");
