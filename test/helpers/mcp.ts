import path from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { armtScript } from "./armt-command.js";
import { assistantModel } from "./assistant-model.js";
import { makeScriptedModel } from "./scripted-model.js";
import { type Ending, temporaryFolder } from "./temporary.js";

/** Files of a test, and the arguments of `armt mcp` for them. */
export interface McpFiles {
    folder: string;
    memories: string;
    documents: string;
    args: string[];
}

/** Makes a model that answers with one sentence, and empty folders. */
export async function makeMcpFiles(t: Ending): Promise<McpFiles> {
    const folder = temporaryFolder(t);
    const model = path.join(folder, "model.gguf");
    await makeScriptedModel(folder, model, assistantModel);
    const memories = path.join(folder, "memories");
    const documents = temporaryFolder(t);
    const args = ["mcp", model, "--memories", memories, "--documents", documents];
    return { folder, memories, documents, args };
}

/** The SDK's client of an `armt mcp` that it starts. */
export async function connectStdio(t: Ending, args: readonly string[]): Promise<Client> {
    const client = new Client({ name: "test", version: "0.0.0" });
    t.teardown(() => client.close());
    await client.connect(
        new StdioClientTransport({
            command: process.execPath,
            args: [armtScript, ...args, "--threads", "1"],
            // without them, the client passes on a few variables only, and coverage is not among them
            env: definedVariables(),
            stderr: "ignore"
        })
    );
    return client;
}

/** The text of a tool's result. */
export function textOf(result: object): string {
    const { content } = result as { content: { text: string }[] };
    return content.map(({ text }) => text).join("");
}

function definedVariables(): Record<string, string> {
    const given = Object.entries(process.env).filter((entry): entry is [string, string] => entry[1] !== undefined);
    return Object.fromEntries(given);
}
