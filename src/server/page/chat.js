import { call } from "./api.js";
import { titleOf } from "./chats.js";
import { button, element, make } from "./dom.js";
import { readEvents } from "./events.js";
import { count } from "./format.js";
import { MessageView } from "./message.js";
import { exampleQuestions, hasForm } from "./question-forms.js";
import { Reading } from "./reading.js";

const json = { "Content-Type": "application/json" };

/** The chat that is shown: its messages, the answer being written, and the chats before it. */
export class Chat {
    /** Ends the answer that is being written. */
    running = undefined;

    /** @param parts `chats` keeps them, `settings` has the parameters, `documents` the memories, `models` the model */
    constructor({ chats, settings, documents, models }) {
        this.chats = chats;
        this.settings = settings;
        this.documents = documents;
        this.models = models;
        this.current = chats.current ?? chats.create();
        element("ask").addEventListener("submit", (event) => {
            event.preventDefault();
            this.ask(element("question").value);
        });
        element("question").addEventListener("keydown", (event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            element("ask").requestSubmit();
        });
        element("stop").addEventListener("click", () => this.stop());
        element("new-chat").addEventListener("click", () => {
            this.open(this.chats.create(this.memory));
            element("question").focus();
        });
    }

    /** The document of the chat as the server holds it; undefined without one, and if the server lost it. */
    get memory() {
        return this.current.memory && this.documents.find(this.current.memory.id);
    }

    get isEmpty() {
        return this.current.messages.length === 0;
    }

    get isBusy() {
        return this.running !== undefined;
    }

    /** Shows a chat. An answer of the one before it ends. */
    open(chat) {
        this.stop();
        this.current = chat;
        this.chats.current = chat;
        this.show();
        this.say("");
    }

    /** The chat is about this document from here on; one with messages is left as it is, and a new one begins. */
    turnTo(memory) {
        if (!this.isEmpty) return this.open(this.chats.create(memory));
        this.current.memory = memory && { id: memory.id, name: memory.name };
        this.showSubject();
    }

    stop() {
        if (this.running === undefined) return;
        this.running.abort();
        // the next question need not wait until the server has ended the answer
        this.running = undefined;
        this.say("Stopped.");
        this.showBusy();
    }

    show() {
        const { messages } = this.current;
        element("log").replaceChildren();
        for (const message of messages) this.add(message);
        this.showSubject();
        this.showChats();
    }

    showSubject() {
        const { memory } = this;
        // a chat that has not begun needs no document that is gone
        if (this.isEmpty && memory === undefined) this.current.memory = undefined;
        const { memory: wanted } = this.current;
        this.documents.choose(memory?.id);
        const isLost = wanted !== undefined && memory === undefined;
        element("subject").textContent = isLost
            ? `About ${wanted.name}, which the server no longer holds. Read it again, then start a new chat on it.`
            : memory === undefined
              ? "Without a document"
              : `About ${memory.name}${memory.status === "partial" ? ", which is partly read" : ""}`;
        element("subject").classList.toggle("error", isLost);
        const { sample } = this.documents;
        const questions = memory !== undefined && memory.name === sample?.name ? sample.questions : [];
        element("questions").replaceChildren(
            ...questions.map((question) =>
                make(
                    "li",
                    {},
                    button(question, () => this.ask(question))
                )
            )
        );
        element("ready").hidden = questions.length === 0;
        this.showForms();
    }

    /** What a model can be asked that was not trained for any question. */
    showForms() {
        const { forms } = this;
        element("forms").hidden = forms === undefined;
        if (forms === undefined) return;
        element("forms").textContent =
            `This model knows no questions but these: ${exampleQuestions(forms)} ` +
            "It names something even where the document does not say it.";
    }

    /** Forms of the questions that the model was trained for; undefined for any question. */
    get forms() {
        const { all, current } = this.models;
        const id = this.memory?.model ?? current?.id;
        return all?.find((model) => model.id === id)?.armt?.question_forms;
    }

    showChats() {
        const others = this.chats.all.filter(({ id }) => id !== this.current.id);
        element("earlier").hidden = others.length === 0;
        element("earlier-count").textContent = count(others.length);
        element("chats").replaceChildren(
            ...others.map((chat) => {
                const title = titleOf(chat);
                const remove = () => {
                    this.chats.delete(chat.id);
                    this.showChats();
                    (element("chats").querySelector("button") ?? element("question")).focus();
                };
                return make(
                    "li",
                    {},
                    button(title, () => this.open(chat), `Open the chat: ${title}`),
                    button("Delete", remove, `Delete the chat: ${title}`)
                );
            })
        );
    }

    add(message) {
        const index = element("log").children.length;
        const view = new MessageView(message, {
            edit: (text) => this.askAgain(index, text),
            regenerate: () => this.askAgain(index - 1, this.current.messages[index - 1].content)
        });
        element("log").append(view.element);
        return view;
    }

    /** Asks another question in place of a message, and drops what follows it. */
    askAgain(index, text) {
        if (this.isLost()) return;
        this.stop();
        this.current.messages = this.current.messages.slice(0, index);
        this.show();
        this.ask(text);
    }

    ask(question) {
        if (this.isBusy || question.trim() === "" || this.isLost()) return;
        element("question").value = "";
        this.current.messages.push({ role: "user", content: question });
        this.add(this.current.messages.at(-1));
        void this.answer();
    }

    /** Whether the chat is about a document that is gone; then nothing can be asked, which is said. */
    isLost() {
        const { memory: wanted } = this.current;
        if (wanted === undefined || this.memory !== undefined) return false;
        this.say(`The server no longer holds ${wanted.name}. Read it again, or choose another document.`);
        return true;
    }

    async answer() {
        // the user may open another chat meanwhile
        const chat = this.current;
        const message = { role: "assistant", content: "", note: this.noteOn(chat.messages.at(-1).content) };
        const request = this.request(chat.messages);
        chat.messages.push(message);
        const view = this.add(message);
        const controller = new AbortController();
        this.running = controller;
        this.showBusy();
        this.keep(chat);
        this.say("Reading the prompt …");
        this.follow(view.element);
        try {
            const usage = await this.stream(request, controller.signal, (piece) => {
                message.content += piece;
                view.update();
                this.follow(view.element);
            });
            this.say(describe(usage));
        } catch (error) {
            if (!controller.signal.aborted) {
                message.error = error.message;
                this.say("The answer failed.");
            }
        } finally {
            view.render();
            this.follow(view.element);
            if (this.running === controller) this.running = undefined;
            this.keep(chat);
            this.showBusy();
            this.showChats();
        }
    }

    /** Says why an answer is worth nothing, if it is. */
    noteOn(question) {
        const { forms } = this;
        if (forms === undefined) return undefined;
        if (!hasForm(question, forms))
            return "This model was not trained for such a question, so its answer means nothing.";
        if (this.memory === undefined && this.settings.system === undefined)
            return "There is no document, so this answer is a guess.";
        return undefined;
    }

    request(messages) {
        const { system, parameters } = this.settings;
        const { memory } = this;
        return {
            messages: [...(system === undefined ? [] : [{ role: "system", content: system }]), ...answered(messages)],
            ...parameters,
            stream: true,
            return_progress: true,
            stream_options: { include_usage: true },
            // the model that read a document answers about it
            ...(memory === undefined ? this.models.parameter : { armt: { memory: memory.id } })
        };
    }

    async stream(request, signal, onPiece) {
        const reading = new Reading("the prompt");
        const response = await call("v1/chat/completions", {
            method: "POST",
            headers: json,
            body: JSON.stringify(request),
            signal
        });
        let began;
        let written = 0;
        let usage;
        for await (const chunk of readEvents(response.body)) {
            if (chunk.error) throw new Error(chunk.error.message);
            usage = chunk.usage ?? usage;
            const { prompt_progress: progress } = chunk;
            if (progress?.armt)
                reading.show({
                    tokens: progress.processed,
                    part: progress.processed / progress.total,
                    ...progress.armt
                });
            const piece = chunk.choices[0]?.delta.content;
            if (!piece) continue;
            if (began === undefined) {
                reading.done("Read the prompt");
                this.say("Writing the answer …");
            }
            began ??= performance.now();
            written++;
            onPiece(piece);
        }
        signal.throwIfAborted();
        return { usage, written, seconds: (performance.now() - began) / 1000 };
    }

    /** Keeps the end of the answer in view, unless the user has scrolled up. */
    follow(item) {
        const log = element("log");
        if (!log.contains(item)) return;
        const isNear = log.scrollHeight - log.scrollTop - log.clientHeight < 160;
        if (isNear || item.dataset.followed === undefined) log.scrollTop = log.scrollHeight;
        item.dataset.followed = "";
    }

    keep(chat) {
        this.chats.keep(chat);
        if (this.current === chat) this.chats.current = chat;
    }

    showBusy() {
        element("stop").disabled = !this.isBusy;
        element("send").disabled = this.isBusy;
        element("chat").classList.toggle("busy", this.isBusy);
    }

    say(text) {
        element("status").textContent = text;
    }
}

/** Messages without questions that got no answer, except the last one. */
function answered(messages) {
    const sent = [];
    for (const { role, content } of messages) {
        if (role === "assistant" && content === "") sent.pop();
        else sent.push({ role, content });
    }
    return sent;
}

function describe({ usage, written, seconds }) {
    const { prompt_tokens: prompt, completion_tokens: completion, prompt_tokens_details: details } = usage;
    const speed = written > 1 ? ` at ${((completion - 1) / seconds).toFixed(1)} tokens/s` : "";
    return (
        `Answer done: ${count(prompt)} tokens of prompt, ${count(details.cached_tokens)} of them not read again; ` +
        `${count(completion)} written${speed}.`
    );
}
