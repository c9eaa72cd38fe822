import path from "node:path";
import type { ArmtMemoryStore } from "../../../plugin/index.js";
import { knownModels } from "../../../plugin/model/known-models.js";
import { cachedModelPath } from "../../../plugin/model/model-cache.js";
import { recallQuestionForms } from "../../eval/recall/question-forms.js";
import { makeRecallSample, recallDescription } from "../../eval/recall/sample.js";
import { recallModelPath } from "../../model/embedded-model.js";
import type { ModelLoader } from "../../model/open-model.js";
import type { LoadableModel } from "../../server/create-server.js";
import { fairBatching } from "../../server/engine/batching.js";
import { readFacts } from "../../server/models/ModelFacts.js";
import type { NamedModel } from "../shared/named-models.js";

export interface LoadableOptions {
    /** Requests that the model answers at once. */
    sequences: number;
    /** Keeps the prefixes of all models. Default: none are kept. */
    store?: ArmtMemoryStore;
}

/** A model that is loaded when a request needs it. */
export async function makeLoadable(
    { id, file }: NamedModel,
    loader: ModelLoader,
    { sequences, store }: LoadableOptions
): Promise<LoadableModel> {
    const isIncluded = path.resolve(file) === recallModelPath;
    // the memories of this package were trained for the sample's questions too
    const knowsSample = isIncluded || knownModels.some(({ name }) => path.resolve(file) === cachedModelPath(name));
    return {
        facts: await readFacts(file, { id, description: isIncluded ? recallDescription : undefined }),
        load: async (signal) => {
            const { model, createContext } = await loader.load(file, signal);
            try {
                signal.throwIfAborted();
                return {
                    context: await createContext({
                        sequences,
                        batching: { itemPrioritizationStrategy: fairBatching }
                    }),
                    sample: knowsSample ? await makeRecallSample((text) => model.tokenize(text).length) : undefined,
                    questionForms: isIncluded ? await recallQuestionForms() : undefined,
                    store: model.armt && store,
                    free: () => model.dispose()
                };
            } catch (error) {
                await model.dispose();
                throw error;
            }
        }
    };
}
