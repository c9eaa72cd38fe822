import { call, useKey } from "./api.js";
import { Chat } from "./chat.js";
import { Chats } from "./chats.js";
import { Documents } from "./documents.js";
import { element } from "./dom.js";
import { takeDrops } from "./drop.js";
import { bytes } from "./format.js";
import { showModelFigures } from "./reading.js";
import { Settings } from "./settings.js";

const settings = new Settings();
const documents = new Documents({
    onChoose: (memory) => chat.turnTo(memory),
    // an answer or a half-written question is not interrupted
    onRead: (memory) => {
        if (!chat.isBusy && element("question").value === "") chat.turnTo(memory);
    },
    onChange: () => chat.showSubject()
});
const chat = new Chat({ chats: new Chats(), settings, documents });
let model;

/** What the loaded model can be asked. */
function about({ description, armt }) {
    if (description !== undefined) return description;
    if (armt === undefined) return "A plain model: it chats within its context, and reads no documents.";
    return (
        `Reads documents of any length, each into a memory of ${bytes(armt.memory_bytes)}. ` +
        "Drop one and ask about it, or chat without one."
    );
}

async function connect() {
    try {
        [model] = (await (await call("v1/models")).json()).data;
        const { id, armt } = model;
        element("model").textContent = armt
            ? `${id} · segments of ${armt.segment_size} tokens · ${armt.schedule} schedule`
            : `${id} · a plain model, whose context has an end`;
        element("about").textContent = about(model);
        settings.showDefaults(model.defaults ?? {});
        element("document").hidden = armt === undefined;
        element("subject").hidden = armt === undefined;
        if (armt !== undefined) {
            showModelFigures(armt);
            documents.sample = armt.sample;
            element("sample").hidden = armt.sample === undefined;
            await documents.refresh();
            // an upload that a reload cut off becomes a partial memory a moment later
            setTimeout(() => void documents.refresh().catch(() => {}), 2000);
        }
        chat.show();
        chat.say("");
    } catch (error) {
        element("model").textContent = "not connected";
        if (error.status === 401) element("access").open = true;
        chat.say(error.message);
    }
}

document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !element("settings").open) chat.stop();
});
// another tab or client may have changed what the server holds
addEventListener("focus", () => {
    if (model?.armt !== undefined) void documents.refresh().catch(() => {});
});
takeDrops(element("drop"), (files) => {
    if (model?.armt !== undefined) documents.add(files);
    else chat.say("This model reads no documents.");
});
element("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    useKey(element("key").value);
    element("key").value = "";
    element("access").open = false;
    void connect();
});
void connect();
