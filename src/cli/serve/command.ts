import type { Argv, CommandModule } from "yargs";
import { defaultHost, defaultMaxModels, defaultParallel, defaultPort, serverDefaults } from "../../server/options.js";
import { isLoopback } from "../../server/security.js";
import { UsageError } from "../../util/failure.js";
import { addModelOptions, checkModelOptions } from "../shared/model-options.js";
import { checkNumber } from "../shared/numbers.js";
import { typedOptions } from "../shared/typed-options.js";
import { apiKeys, checkOrigins, type ServeOptions } from "./options.js";

const logLevels = ["silent", "error", "warn", "info", "debug"];

export const command: CommandModule<object, ServeOptions> = {
    command: "serve [model..]",
    describe: "Serve OpenAI's API over HTTP, with a chat page at /",
    builder: (parser: Argv<object>) => {
        addModelOptions(parser, "f16", "several");
        return typedOptions(
            parser
                .option("threads", {
                    type: "number",
                    describe: "CPU threads of the model [default: all cores but one, which answers requests]"
                })
                .option("host", {
                    default: defaultHost,
                    type: "string",
                    describe: "Address to listen on; any address but loopback requires --api-key"
                })
                .option("port", {
                    default: defaultPort,
                    type: "number",
                    describe: "Port to listen on; 0: any free port"
                })
                .option("alias", {
                    type: "string",
                    describe: "Name of the model in the API, if it is the only one [default: the file's]"
                })
                .option("api-key", {
                    type: "string",
                    array: true,
                    nargs: 1,
                    describe: "Key that requests must bring; may be repeated, or set as ARMT_API_KEY"
                })
                .option("cors-origin", {
                    type: "string",
                    array: true,
                    nargs: 1,
                    describe: "Origin of a web page that may use the server; may be repeated; *: any, with --api-key"
                })
                .option("max-models", {
                    default: defaultMaxModels,
                    type: "number",
                    describe: "Of several models, those loaded at once; the least recently used one leaves"
                })
                .option("models-size", {
                    type: "number",
                    describe: "MiB of the files of all loaded models [default: this machine's memory]"
                })
                .option("parallel", {
                    default: defaultParallel,
                    type: "number",
                    describe: "Number of requests that a model answers at once"
                })
                .option("max-queue", {
                    default: serverDefaults.maxQueue,
                    type: "number",
                    describe: "Maximum number of waiting requests; the next one gets 429"
                })
                .option("request-timeout", {
                    default: serverDefaults.requestTimeoutMs / 1000,
                    type: "number",
                    describe: "Maximum time of a request in seconds, including its wait"
                })
                .option("drain-timeout", {
                    default: serverDefaults.drainTimeoutMs / 1000,
                    type: "number",
                    describe: "Seconds that running requests have to finish after SIGINT or SIGTERM"
                })
                .option("max-tokens", {
                    default: serverDefaults.defaultMaxTokens,
                    type: "number",
                    describe: "Maximum tokens of an answer, if the request sets none"
                })
                .option("max-body", {
                    default: serverDefaults.maxBodyBytes / 2 ** 20,
                    type: "number",
                    describe: "Maximum size of a JSON body in MiB; documents have no limit"
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
                    describe: "MiB of the stored responses, compressed; the oldest go first"
                })
                .option("memories-size", {
                    default: serverDefaults.maxMemoriesBytes / 2 ** 20,
                    type: "number",
                    describe: "Maximum size of all memories in MiB"
                })
                .option("store-folder", {
                    type: "string",
                    describe: "Folder that keeps prefixes of prompts across restarts [default: none]"
                })
                .option("slot-save-path", {
                    type: "string",
                    describe: "Folder for the files of llama-server's slot actions [default: none; they answer 501]"
                })
                .option("log-level", {
                    choices: logLevels,
                    default: "info",
                    describe: "Amount of logging; prompts are never logged"
                })
                .example("$0 serve model.gguf", "then: http://127.0.0.1:8080")
                .example("$0 serve small.gguf ~/models", "Several models, loaded when a request names them")
        );
    },
    handler: async (options) => {
        checkModelOptions(options);
        checkNumber("port", options.port, { min: 0 });
        if (options.port > 65_535) throw new UsageError("--port must be at most 65535");
        checkNumber("parallel", options.parallel, { min: 1 });
        checkNumber("max-models", options.maxModels, { min: 1 });
        checkNumber("models-size", options.modelsSize, { min: 0, integer: false });
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
        checkOrigins(options.corsOrigin ?? [], keys.length > 0);
        const { serve } = await import("./run.js");
        await serve(options);
    }
};
