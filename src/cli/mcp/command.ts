import type { Argv, CommandModule } from "yargs";
import { defaultMaxModels } from "../../server/options.js";
import { isLoopback } from "../../server/security.js";
import { UsageError } from "../../util/failure.js";
import { dashed } from "../../util/option-names.js";
import { apiKeys } from "../serve/options.js";
import { addModelOptions, checkModelOptions } from "../shared/model-options.js";
import { checkNumber } from "../shared/numbers.js";
import { typedOptions } from "../shared/typed-options.js";
import type { McpOptions } from "./options.js";

/** Tokens of an answer at most. */
const defaultMaxTokens = 512;

/** One sequence reads a document while the other answers. */
const defaultParallel = 2;

const defaultHost = "127.0.0.1";
const defaultPort = 8081;

type GivenMcpOptions = Omit<McpOptions, "host" | "port"> & Partial<Pick<McpOptions, "host" | "port">>;

export const command: CommandModule<object, GivenMcpOptions> = {
    command: "mcp [model..]",
    describe: "Let assistants read documents once and ask about them, by the Model Context Protocol",
    builder: (parser: Argv<object>) => {
        addModelOptions(parser, "f16", "several");
        return typedOptions<GivenMcpOptions>(
            parser
                .option("memories", {
                    type: "string",
                    demandOption: true,
                    describe: "Folder that keeps the memories; created if it is missing"
                })
                .option("documents", {
                    type: "string",
                    array: true,
                    nargs: 1,
                    describe: "Folder whose files may be read; may be repeated [default: only texts that clients send]"
                })
                .option("max-tokens", {
                    default: defaultMaxTokens,
                    type: "number",
                    describe: "Maximum tokens of an answer"
                })
                .option("parallel", {
                    default: defaultParallel,
                    type: "number",
                    describe: "Number of documents and questions to work on at once"
                })
                .option("max-models", {
                    default: defaultMaxModels,
                    type: "number",
                    describe: "Of several models, those loaded at once; the least recently used one leaves"
                })
                .option("http", {
                    default: false,
                    type: "boolean",
                    describe: "Listen over HTTP at /mcp [default: standard input and output]"
                })
                .option("host", {
                    type: "string",
                    describe:
                        "With --http: address to listen on; any address but loopback requires --api-key " +
                        `[default: ${defaultHost}]`
                })
                .option("port", {
                    type: "number",
                    describe: `With --http: port to listen on; 0: any free port [default: ${defaultPort}]`
                })
                .option("api-key", {
                    type: "string",
                    array: true,
                    nargs: 1,
                    describe: "With --http: key that requests must bring; may be repeated, or set as ARMT_API_KEY"
                })
                .example("$0 mcp model.gguf --memories ~/memories --documents ~/Books", "What a client starts")
        );
    },
    handler: async (given) => {
        for (const name of ["host", "port", "apiKey"] as const)
            if (!given.http && given[name] !== undefined) throw new UsageError(`--${dashed(name)} needs --http`);
        const options: McpOptions = { ...given, host: given.host ?? defaultHost, port: given.port ?? defaultPort };
        checkModelOptions(options);
        checkNumber("max-tokens", options.maxTokens, { min: 1 });
        checkNumber("max-models", options.maxModels, { min: 1 });
        checkNumber("parallel", options.parallel, { min: 1 });
        checkNumber("port", options.port, { min: 0 });
        if (options.port > 65_535) throw new UsageError("--port must be at most 65535");
        if (options.http && !isLoopback(options.host) && apiKeys(options).length === 0)
            throw new UsageError(`--host ${options.host} can be reached by others, so it needs --api-key`);
        const { runMcp } = await import("./run.js");
        await runMcp(options);
    }
};
