import { CellPicture } from "./cells.js";
import { readEvents } from "./events.js";

const element = (id) => document.getElementById(id);
const numbers = new Intl.NumberFormat("en");
const picture = new CellPicture(element("cells"));

let model;
let memory;
let messages = [];
let working;

function headers(more = {}) {
    const key = sessionStorage.getItem("key");
    return key === null ? more : { ...more, Authorization: `Bearer ${key}` };
}

async function call(path, options = {}) {
    const response = await fetch(path, { ...options, headers: headers(options.headers) });
    if (response.ok) return response;
    if (response.status === 401) element("access").open = true;
    const body = await response.json().catch(() => undefined);
    throw new Error(body?.error?.message ?? `${response.status} ${response.statusText}`);
}

function say(text) {
    element("status").textContent = text;
}

function bytes(count) {
    const units = ["bytes", "KiB", "MiB", "GiB"];
    const unit = count > 0 ? Math.min(3, Math.floor(Math.log2(count) / 10)) : 0;
    return `${(count / 1024 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
}

async function connect() {
    try {
        const { data } = await (await call("v1/models")).json();
        model = data[0];
        const { armt } = model;
        element("model").textContent = armt
            ? `${model.id} · segments of ${armt.segment_size} tokens · ${armt.schedule} schedule`
            : `${model.id} · a plain model, whose context has an end`;
        element("document").hidden = !armt;
        if (armt) {
            element("size").textContent = bytes(armt.memory_bytes);
            picture.begin(armt.layers, armt.schedule);
        }
        say("");
    } catch (error) {
        element("model").textContent = "not connected";
        say(error.message);
    }
}

/** What is shown of a prompt or document on its way. */
class Reading {
    started = performance.now();
    first = undefined;

    show({ tokens, segments, cells, part, restored = 0 }) {
        this.first ??= { tokens, at: performance.now(), cells: restored };
        const seconds = (performance.now() - this.first.at) / 1000;
        element("tokens").textContent = numbers.format(tokens);
        element("segments").textContent = numbers.format(segments);
        if (seconds > 0.2 && tokens > this.first.tokens)
            element("speed").textContent = numbers.format(Math.round((tokens - this.first.tokens) / seconds));
        element("bar").value = part;
        picture.show(this.first.cells + cells);
    }
}

async function readDocument(file) {
    if (working !== undefined || !model?.armt) return;
    const controller = start();
    const reading = new Reading();
    const watch = crypto.randomUUID();
    element("memory").textContent = `Reading ${file.name} …`;
    let shown = 0;
    try {
        const watched = call(`v1/armt/progress/${watch}`, { signal: controller.signal }).then(async (response) => {
            for await (const { progress } of readEvents(response.body)) {
                const { tokens, segments, cells, characters } = progress;
                reading.show({ tokens, segments, cells, part: Math.min(1, characters / file.size) });
                // a screen reader hears a tenth at a time
                const tenth = Math.floor((10 * characters) / file.size);
                if (tenth > shown) element("memory").textContent = `Reading ${file.name}: ${tenth * 10} % …`;
                shown = Math.max(shown, tenth);
            }
        });
        watched.catch(() => {});
        const query = new URLSearchParams({ name: file.name.slice(0, 200), watch });
        const response = await call(`v1/armt/memories?${query}`, {
            method: "POST",
            headers: { "Content-Type": "text/plain; charset=utf-8" },
            body: file,
            signal: controller.signal
        });
        memory = await response.json();
        await watched.catch(() => {});
        element("bar").value = 1;
        element("tokens").textContent = numbers.format(memory.tokens);
        element("segments").textContent = numbers.format(memory.segments);
        element("size").textContent = bytes(model.armt.memory_bytes);
        element("memory").textContent =
            `${file.name}: ${numbers.format(memory.tokens)} tokens read once. Questions go on from there; nothing is read again.`;
        element("forget").hidden = false;
        clearChat();
    } catch (error) {
        element("memory").textContent = controller.signal.aborted
            ? "Stopped. What was read is kept as a partial memory."
            : error.message;
    } finally {
        end();
    }
}

async function forget() {
    if (memory !== undefined) await call(`v1/armt/memories/${memory.id}`, { method: "DELETE" }).catch(() => {});
    memory = undefined;
    element("forget").hidden = true;
    element("memory").textContent = "No document.";
    clearChat();
    element("file").value = "";
    element("file").focus();
}

function start() {
    working = new AbortController();
    element("stop").disabled = false;
    element("send").disabled = true;
    return working;
}

function end() {
    working = undefined;
    element("stop").disabled = true;
    element("send").disabled = false;
}

function add(who, text) {
    const item = document.createElement("li");
    const name = document.createElement("b");
    name.textContent = who;
    const content = document.createElement("span");
    content.textContent = text;
    item.append(name, content);
    element("log").append(item);
    item.scrollIntoView({ block: "nearest" });
    return content;
}

function clearChat() {
    messages = [];
    element("log").replaceChildren();
    say("");
}

async function ask(question) {
    if (working !== undefined || question.trim() === "") return;
    const controller = start();
    messages.push({ role: "user", content: question });
    add("You", question);
    const shown = add("Model", "");
    const reading = new Reading();
    let text = "";
    let written = 0;
    let began;
    let usage;
    say("Reading the prompt …");
    try {
        const response = await call("v1/chat/completions", {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({
                messages,
                max_tokens: Number(element("length").value) || 256,
                stream: true,
                return_progress: true,
                stream_options: { include_usage: true },
                ...(memory === undefined ? {} : { armt: { memory: memory.id } })
            }),
            signal: controller.signal
        });
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
            began ??= performance.now();
            written++;
            text += piece;
            shown.textContent = text;
            shown.scrollIntoView({ block: "nearest" });
        }
        messages.push({ role: "assistant", content: text });
        const seconds = (performance.now() - began) / 1000;
        const cached = usage.prompt_tokens_details.cached_tokens;
        say(
            `Answer done: ${numbers.format(usage.prompt_tokens)} tokens of prompt, ${numbers.format(cached)} of them not read again; ` +
                `${usage.completion_tokens} written${written > 1 ? ` at ${((usage.completion_tokens - 1) / seconds).toFixed(1)} tokens/s` : ""}.`
        );
    } catch (error) {
        messages.push({ role: "assistant", content: text });
        if (controller.signal.aborted) say("Stopped.");
        else {
            shown.className = "error";
            shown.textContent = `${text} ${error.message}`;
            say("The answer failed.");
        }
    } finally {
        end();
    }
}

element("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    const { value } = element("question");
    if (working !== undefined) return;
    element("question").value = "";
    void ask(value);
});
element("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    element("ask").requestSubmit();
});
document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") working?.abort();
});
element("stop").addEventListener("click", () => working?.abort());
element("clear").addEventListener("click", () => {
    clearChat();
    element("question").focus();
});
element("forget").addEventListener("click", () => void forget());
element("file").addEventListener("change", ({ target }) => {
    if (target.files.length > 0) void readDocument(target.files[0]);
});
const drop = element("drop");
for (const kind of ["dragenter", "dragover"])
    drop.addEventListener(kind, (event) => {
        event.preventDefault();
        drop.classList.add("over");
    });
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) void readDocument(file);
});
element("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem("key", element("key").value);
    element("key").value = "";
    element("access").open = false;
    void connect();
});
void connect();
