// Serves the model that the tests of clients talk to, for clients in other languages. It prints its address, and ends
// with standard input.
import process from "node:process";
import { assistantModel } from "./assistant-model.js";
import { startServer } from "./server.js";

const ends: (() => unknown)[] = [];
const { url } = await startServer({ teardown: (end) => ends.unshift(end) }, { tiny: assistantModel });
process.stdout.write(`${url}\n`);
process.stdin.resume();
process.stdin.once("end", async () => {
    for (const end of ends) await end();
    process.exit(0);
});
