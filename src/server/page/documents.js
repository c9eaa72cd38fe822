import { call } from "./api.js";
import { makeEmptyCard, makeMemoryCard, TaskCard } from "./document-card.js";
import { element, make } from "./dom.js";
import { plural } from "./format.js";
import { Reading } from "./reading.js";
import { load, save } from "./storage.js";
import { isMemoryFile, readTextFile } from "./text-file.js";
import { uploadText } from "./upload.js";

/** Length of a document's name that the server takes. Unit: UTF-16 code units. */
const maxNameLength = 200;

/** A file's name as the server keeps it. */
const nameOf = ({ name }) => name.slice(0, maxNameLength).toWellFormed();

const binary = { "Content-Type": "application/octet-stream" };

/** The documents that the server holds, and those on their way. */
export class Documents {
    /** Memories of the server, the newest last. */
    memories = [];
    chosen = undefined;
    sample = undefined;
    cards = new Map();
    tasks = [];
    isRunning = false;
    /** Files of this session, by the memory that was made of them. */
    files = new Map();
    /** The partial memory whose file is being chosen. */
    continued = undefined;

    /**
     * @param handlers `models`, of which the chosen one reads; `onChoose(memory)`, by the user; `onRead(memory)`, when a document is ready; `onChange()`, when
     * documents came or went
     */
    constructor(handlers) {
        this.handlers = handlers;
        this.list = element("documents");
        this.list.append(makeEmptyCard(() => this.handlers.onChoose(undefined)));
        element("file").addEventListener("change", ({ target }) => {
            this.add([...target.files]);
            target.value = "";
        });
        element("continue-file").addEventListener("change", ({ target }) => {
            const [file] = target.files;
            if (file !== undefined) this.continueWith(file);
            target.value = "";
        });
        element("sample").addEventListener("click", () => void this.readSample());
    }

    find(id) {
        return this.memories.find((memory) => memory.id === id);
    }

    /** Shows which document the chat is about. */
    choose(id = "") {
        const isNew = id !== this.chosen;
        this.chosen = id;
        for (const radio of this.list.querySelectorAll("input")) radio.checked = radio.value === id;
        if (!isNew) return;
        const card = this.cards.get(id) ?? this.list.firstElementChild;
        // only the list scrolls, not the page
        const above = card.offsetTop - this.list.offsetTop - this.list.scrollTop;
        const below = above + card.offsetHeight - this.list.clientHeight;
        if (above < 0) this.list.scrollTop += above;
        else if (below > 0) this.list.scrollTop += below;
    }

    /** Asks the server what it holds. */
    async refresh() {
        const { data } = await (await call("v1/armt/memories")).json();
        this.memories = data.map((memory) => ({ ...memory, name: memory.name ?? memory.id }));
        for (const [id, card] of this.cards) {
            if (this.find(id) !== undefined) continue;
            card.remove();
            this.cards.delete(id);
        }
        for (const memory of this.memories) {
            if (this.cards.has(memory.id)) continue;
            const actions = {
                choose: (one) => this.handlers.onChoose(one),
                continue: (one) => this.continueReading(one),
                save: (one) => void this.download(one),
                delete: (one) => void this.delete(one)
            };
            const card = makeMemoryCard(memory, actions, this.handlers.models.all.length > 1);
            this.cards.set(memory.id, card);
            // those that are read, or could not be, come last
            this.list.insertBefore(card, this.list.querySelector(".task"));
        }
        this.choose(this.chosen);
        this.handlers.onChange();
    }

    /** Reads files one after the other. */
    add(files) {
        for (const file of files) this.begin({ name: nameOf(file), file });
    }

    async readSample() {
        const { name } = this.sample;
        const query = new URLSearchParams(this.handlers.models.parameter);
        const known = this.memories.find((memory) => memory.name === name && memory.status === "complete");
        if (known !== undefined) return this.handlers.onRead(known);
        if (this.tasks.some((task) => task.name === name && !task.isDone)) return;
        try {
            const text = await (await call(`v1/armt/sample?${query}`)).text();
            this.begin({ name, file: new File([text], name) });
        } catch (error) {
            this.say(error.message);
        }
    }

    continueReading(memory) {
        // a second click changes nothing
        if (this.tasks.some(({ base, isDone }) => base?.id === memory.id && !isDone)) return;
        const file = this.files.get(memory.id);
        if (file !== undefined) return this.begin({ name: memory.name, file, base: memory });
        // after a reload, a page may no longer open the file
        this.continued = memory;
        this.say(`Choose ${memory.name} again to continue.`);
        element("continue-file").click();
    }

    continueWith(file) {
        const memory = this.continued;
        const size = load("sizes", {})[memory.id];
        if (nameOf(file) !== memory.name) this.say(`${file.name} is not ${memory.name}, which was partly read.`);
        else if (size !== undefined && size !== file.size)
            this.say(`${file.name} has changed since it was partly read. Drop it to read it from its beginning.`);
        else this.begin({ name: memory.name, file, base: memory });
    }

    begin({ name, file, base }) {
        const controller = new AbortController();
        const task = { name, file, base, controller, isDone: false };
        task.card = new TaskCard(name, () => {
            controller.abort();
            task.card.say("stopping …");
        });
        this.tasks.push(task);
        this.list.append(task.card.element);
        this.list.scrollTop = this.list.scrollHeight;
        void this.run();
    }

    async run() {
        if (this.isRunning) return;
        this.isRunning = true;
        for (let task = this.next(); task !== undefined; task = this.next()) await this.read(task);
        this.isRunning = false;
    }

    next() {
        return this.tasks.find(({ isDone }) => !isDone);
    }

    async read(task) {
        const { name, file, base, controller, card } = task;
        const { signal } = controller;
        const before = new Set(this.memories.map(({ id }) => id));
        try {
            signal.throwIfAborted();
            this.say(`Reading ${name} …`);
            const memory = await this.memoryOf(task);
            this.keepFile(memory, file);
            this.finish(task);
            await this.refresh();
            if (base !== undefined) await this.forget(base);
            const held = this.find(memory.id);
            this.say(`${held.name} is ready: ${plural(held.tokens, "token")}. Ask about it.`);
            this.handlers.onRead(held);
        } catch (error) {
            await this.refresh().catch(() => {});
            if (!signal.aborted) {
                task.isDone = true;
                card.fail(error.message, () => this.finish(task));
                this.say(`${name} was not read.`);
                return;
            }
            this.finish(task);
            const partial = this.memories.findLast(({ id, name: its }) => !before.has(id) && its === name);
            if (partial === undefined) return this.say(`Stopped before anything of ${name} was read.`);
            this.keepFile(partial, file);
            if (base !== undefined) await this.forget(base);
            this.say(`Stopped. ${plural(partial.tokens, "token")} of ${name} are read, and you can continue.`);
        }
    }

    async memoryOf({ name, file, base, controller: { signal }, card }) {
        card.say("checks the file");
        if (await isMemoryFile(file)) {
            card.say("loads the memory");
            // a memory file says which model it is for
            const query = new URLSearchParams({ name: name.replace(/\.armt$/, "") });
            const options = { method: "POST", headers: binary, body: file, signal };
            return await (await call(`v1/armt/memories/file?${query}`, options)).json();
        }
        const { body, characters: length } = await readTextFile(file, { skip: base?.characters, signal });
        card.say("waits for the model");
        const reading = new Reading(name);
        let tenth = 0;
        const onProgress = ({ tokens, segments, cells, characters }) => {
            const part = Math.min(1, characters / length);
            card.show(tokens, part);
            reading.show({ tokens, segments, cells, part });
            // a screen reader hears a tenth at a time
            if (Math.floor(10 * part) <= tenth) return;
            tenth = Math.floor(10 * part);
            this.say(`Reading ${name}: ${10 * tenth} %`);
        };
        const memory = await uploadText(body, {
            name,
            // the model that began a document reads on
            ...(base === undefined ? this.handlers.models.parameter : { from: base.id }),
            signal,
            onProgress
        });
        reading.done(`Read ${name}`);
        return memory;
    }

    /** Its file can be read on with, until the page is closed; its size tells later whether it is the same. */
    keepFile({ id, status }, file) {
        if (status !== "partial") return;
        this.files.set(id, file);
        const known = Object.entries(load("sizes", {})).slice(-100);
        save("sizes", { ...Object.fromEntries(known), [id]: file.size });
    }

    finish(task) {
        task.isDone = true;
        task.card.element.remove();
        this.tasks.splice(this.tasks.indexOf(task), 1);
    }

    async delete(memory) {
        if (!confirm(`Delete ${memory.name}? To ask about it again, you would have to read it again.`)) return;
        await this.forget(memory);
        this.say(`${memory.name} is deleted.`);
        (this.list.querySelector("input:checked") ?? element("file")).focus();
    }

    async forget({ id }) {
        await call(`v1/armt/memories/${id}`, { method: "DELETE" }).catch(() => {});
        await this.refresh().catch((error) => this.say(error.message));
    }

    async download({ id, name }) {
        this.say(`Saving the memory of ${name} …`);
        try {
            const blob = await (await call(`v1/armt/memories/${id}/file`)).blob();
            const link = make("a", { href: URL.createObjectURL(blob), download: `${name}.armt` });
            link.click();
            setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
            this.say(`The memory of ${name} is saved as ${name}.armt.`);
        } catch (error) {
            this.say(error.message);
        }
    }

    say(text) {
        element("documents-status").textContent = text;
    }
}
