import type { Argv, CommandModule } from "yargs";
import { defaultHost, defaultParallel, defaultPort, serverDefaults } from "../../server/options.js";
import { isLoopback } from "../../server/security.js";
import { UsageError } from "../../util/failure.js";
import { addModelOptions, checkModelOptions } from "../shared/model-options.js";
import { checkNumber } from "../shared/numbers.js";
import { typedOptions } from "../shared/typed-options.js";
import { apiKeys, type ServeOptions } from "./options.js";

const logLevels = ["silent", "error", "warn", "info", "debug"];

export const command: CommandModule<object, ServeOptions> = {
    command: "serve [model]",
    describe: "Answer the OpenAI API over HTTP, with a page at /",
    builder: (parser: Argv<object>) => {
        addModelOptions(parser, "f16");
        return typedOptions(
            parser
                .option("threads", {
                    type: "number",
                    describe: "CPU threads of the model [default: one less than the cores, which answers requests]"
                })
                .option("host", {
                    default: defaultHost,
                    type: "string",
                    describe: "Address to listen at; any but a loopback address needs --api-key"
                })
                .option("port", { default: defaultPort, type: "number", describe: "Port to listen at; 0: a free one" })
                .option("alias", { type: "string", describe: "Name of the model in the API [default: the file's]" })
                .option("api-key", {
                    type: "string",
                    describe: "Key that requests have to bring; may be given several times, or as ARMT_API_KEY"
                })
                .option("parallel", {
                    default: defaultParallel,
                    type: "number",
                    describe: "Requests that are answered at once"
                })
                .option("max-queue", {
                    default: serverDefaults.maxQueue,
                    type: "number",
                    describe: "Requests that may wait; one more gets 429"
                })
                .option("request-timeout", {
                    default: serverDefaults.requestTimeoutMs / 1000,
                    type: "number",
                    describe: "Seconds that a request may take, its wait included"
                })
                .option("drain-timeout", {
                    default: serverDefaults.drainTimeoutMs / 1000,
                    type: "number",
                    describe: "Seconds that running requests have to finish after SIGINT or SIGTERM"
                })
                .option("max-tokens", {
                    default: serverDefaults.defaultMaxTokens,
                    type: "number",
                    describe: "Tokens to write where a request does not say"
                })
                .option("max-body", {
                    default: serverDefaults.maxBodyBytes / 2 ** 20,
                    type: "number",
                    describe: "MiB of a JSON body; documents have no bound"
                })
                .option("max-bodies", {
                    default: serverDefaults.maxBodiesBytes / 2 ** 20,
                    type: "number",
                    describe: "MiB of all JSON bodies held at a time; beyond that, requests get 429"
                })
                .option("max-responses", {
                    default: serverDefaults.maxResponses,
                    type: "number",
                    describe: "Responses stored for previous_response_id; the oldest go first"
                })
                .option("responses-size", {
                    default: serverDefaults.maxResponsesBytes / 2 ** 20,
                    type: "number",
                    describe: "MiB of text of the stored responses; the oldest go first"
                })
                .option("memories-size", {
                    default: serverDefaults.maxMemoriesBytes / 2 ** 20,
                    type: "number",
                    describe: "MiB of memories held"
                })
                .option("store-folder", {
                    type: "string",
                    describe: "Folder that keeps prefixes of prompts over a restart [default: none]"
                })
                .option("log-level", { choices: logLevels, default: "info", describe: "Prompts are never logged" })
                .example("$0 serve model.gguf", "then: http://127.0.0.1:8080")
        );
    },
    handler: async (options) => {
        checkModelOptions(options);
        checkNumber("port", options.port, { min: 0 });
        if (options.port > 65_535) throw new RangeError("--port has to be at most 65535");
        checkNumber("parallel", options.parallel, { min: 1 });
        checkNumber("max-queue", options.maxQueue, { min: 0 });
        checkNumber("request-timeout", options.requestTimeout, { min: 0.001, integer: false });
        checkNumber("max-tokens", options.maxTokens, { min: 1 });
        checkNumber("max-body", options.maxBody, { min: 0.001, integer: false });
        checkNumber("max-bodies", options.maxBodies, { min: 0.001, integer: false });
        checkNumber("max-responses", options.maxResponses, { min: 0 });
        checkNumber("responses-size", options.responsesSize, { min: 0, integer: false });
        checkNumber("drain-timeout", options.drainTimeout, { min: 0, integer: false });
        checkNumber("memories-size", options.memoriesSize, { min: 0, integer: false });
        const keys = apiKeys(options);
        if (!isLoopback(options.host) && keys.length === 0)
            throw new UsageError(`--host ${options.host} can be reached by others, so it needs --api-key`);
        const { serve } = await import("./run.js");
        await serve(options);
    }
};
