import type { LlamaContextOptions, LlamaModelOptions } from "node-llama-cpp";
import type { ArmtContext } from "./context/ArmtContext.js";
import type { ArmtModelOptions } from "./model/placement.js";
import type { ArmtContextOptions } from "./options.js";
import type { ArmtSequence } from "./sequence/ArmtSequence.js";
import type { ArmtModelInfo } from "./types.js";

declare module "node-llama-cpp" {
    interface Llama {
        /**
         * Loads a model.
         * @throws {ArmtDeviceError} if a device of the option `armt` cannot be used
         * @throws {ArmtUnsupportedError} for the option `armt` on a plain model
         */
        loadModel(
            options: LlamaModelOptions & {
                /** Where the layers of an ARMT model go. */
                armt?: ArmtModelOptions;
            }
        ): Promise<LlamaModel>;
    }

    interface LlamaModel {
        /** What the model file says about its associative memory; undefined for a plain model. */
        readonly armt: ArmtModelInfo | undefined;

        /**
         * Creates a context. For an ARMT model `contextSize` is unbounded by default.
         * @throws {ArmtUnsupportedError} for the option `armt` on a plain model
         */
        createContext(
            options?: LlamaContextOptions & {
                /** Options of an ARMT model's context. */
                armt?: ArmtContextOptions;
            }
        ): Promise<LlamaContext>;
    }

    interface LlamaContext {
        /** What ARMT adds; undefined for a plain model. */
        readonly armt: ArmtContext | undefined;
    }

    interface LlamaContextSequence {
        /** What ARMT adds; undefined for a plain model. */
        readonly armt: ArmtSequence | undefined;
    }
}
