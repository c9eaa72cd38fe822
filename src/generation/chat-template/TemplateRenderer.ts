import { WorkerLimitError, WorkerQueue } from "../../util/WorkerQueue.js";
import type { Stretch } from "./Markers.js";
import type { ChatToRender } from "./render-chat.js";
import type { RenderAnswer, RenderRequest, WorkerFacts } from "./render-worker.js";

/** A template refuses its messages, or has an error itself. */
export class TemplateError extends Error {
    override name = "TemplateError";
}

/** A template was terminated, because it took too much time or memory. */
export class TemplateLimitError extends TemplateError {
    override name = "TemplateLimitError";
}

/** A message contains the name of a special token in a place where the template looks for it. */
export class MarkedTextError extends TemplateError {
    override name = "MarkedTextError";
}

/** A template cannot be parsed. */
export class UnparsedTemplateError extends TemplateError {
    override name = "UnparsedTemplateError";
}

/** A worker ends after a longer text, which frees its copies of it. Unit: UTF-16 code units. */
const longText = 2 ** 18;

/**
 * Renders Jinja templates one by one in a worker thread. Templates come from model files, so they are not trusted: one
 * that takes too long is terminated, and the server keeps responding meanwhile.
 */
export class TemplateRenderer {
    private readonly queue: WorkerQueue<RenderRequest, RenderAnswer>;

    /**
     * @param timeoutMs time that one rendering may take
     * @param facts the special tokens, for {@link renderChat}
     */
    constructor(timeoutMs: number, facts: WorkerFacts = { tokens: [] }) {
        this.queue = new WorkerQueue(new URL("./render-worker.js", import.meta.url), { timeoutMs, workerData: facts });
    }

    /** @throws {TemplateError} with the template's own message; {@link TemplateLimitError} if it is terminated */
    async render(template: string, variables: Readonly<Record<string, unknown>>): Promise<string> {
        const answer = await this.run({ template, variables });
        return answer.text;
    }

    /**
     * Renders a chat. Names of special tokens in its messages are text.
     * @throws {TemplateError} {@link MarkedTextError} if the template takes names in messages for its own
     */
    async renderChat(template: string, chat: ChatToRender, signal?: AbortSignal): Promise<readonly Stretch[]> {
        const answer = await this.run({ template, chat }, signal, lengthOf(chat) > longText);
        return answer.stretches;
    }

    async dispose(): Promise<void> {
        await this.queue.dispose();
    }

    private async run(request: RenderRequest, signal?: AbortSignal, isLarge = false) {
        const answer = await this.queue.run(request, { signal, isLarge }).catch((error) => {
            if (!(error instanceof WorkerLimitError)) throw error;
            throw new TemplateLimitError(`the model's chat template was ended: ${error.message}`);
        });
        if ("error" in answer) throw new errors[answer.cause](answer.error);
        return answer;
    }
}

const errors = { marked: MarkedTextError, syntax: UnparsedTemplateError, template: TemplateError };

function lengthOf({ messages }: ChatToRender): number {
    return messages.reduce((sum, { content }) => sum + content.length, 0);
}
