// Comes before the first import of node-llama-cpp in each entry of the package; plugin/index.ts restores the variable.
import { hideCi } from "./ci-variable.js";

hideCi();
