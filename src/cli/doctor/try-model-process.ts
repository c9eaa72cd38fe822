import process from "node:process";
import { tryModel } from "./try-model.js";

// Prints what is wrong with a variant, as JSON. `try-model.ts` runs this in a process of its own.
const [variant] = process.argv.slice(2);
const problem = await tryModel(JSON.parse(variant!)).catch(
    (error: unknown) => `does not run: ${error instanceof Error ? error.message : String(error)}`
);
process.stdout.write(JSON.stringify({ problem }));
