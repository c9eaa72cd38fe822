import type { CommandModule } from "yargs";
import { addGpuOption } from "../shared/gpu-option.js";
import { checkNumber } from "../shared/numbers.js";
import { typedOptions } from "../shared/typed-options.js";
import type { RpcServerOptions } from "./options.js";

export const command: CommandModule<object, RpcServerOptions> = {
    command: "rpc-server",
    describe: "Lend this machine's GPUs, or its CPU, to a model on another machine",
    builder: (parser) => {
        addGpuOption(parser);
        return typedOptions<RpcServerOptions>(
            parser
                .option("host", {
                    type: "string",
                    default: "127.0.0.1",
                    describe: "IPv4 address or name to listen on. There is no password: only in a network you trust"
                })
                .option("port", { type: "number", default: 50052, describe: "Port to listen on" })
                .option("threads", {
                    alias: "t",
                    type: "number",
                    describe: "CPU threads [default: the usable cores]"
                })
                .option("cache", {
                    type: "string",
                    describe: "Folder that keeps large weights, so that they are sent once [default: none]"
                })
                .example("$0 rpc-server --host 192.168.0.7", "")
                .example("$0 run model.gguf --rpc 192.168.0.7:50052", "on the other machine")
        );
    },
    handler: async (options) => {
        checkNumber("port", options.port, { min: 1, max: 65_535 });
        checkNumber("threads", options.threads, { min: 1, max: 4096 });
        const { serveRpc } = await import("./run.js");
        await serveRpc(options);
    }
};
