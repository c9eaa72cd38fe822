/**
 * The OpenAI-compatible endpoint as an express app, for those who mount it in their own app.
 * @module
 */
import "../../plugin/node-llama-cpp/hide-ci.js";

export type { QuestionForms } from "../util/question-forms.js";
export { createApp } from "./app.js";
export {
    type CommonServerOptions,
    createServer,
    type LoadableModel,
    type ModelsServerOptions,
    type ServerOptions
} from "./create-server.js";
export { fairBatching } from "./engine/batching.js";
export { type Listening, listen } from "./listen.js";
export { type KnownFacts, type ModelFacts, readFacts } from "./models/ModelFacts.js";
export type { LoadedModel, SampleDocument } from "./models/ServedModel.js";
export { type ServerLimits, serverDefaults } from "./options.js";
export type { Server } from "./Server.js";
export { shutDown } from "./shut-down.js";
