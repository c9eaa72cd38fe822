import { hasKey, onKeyNeeded, useKey } from "./api.js";
import { Chat } from "./chat.js";
import { Chats } from "./chats.js";
import { Documents } from "./documents.js";
import { element } from "./dom.js";
import { takeDrops } from "./drop.js";
import { bytes } from "./format.js";
import { Models } from "./models.js";
import { showModelFigures } from "./reading.js";
import { Settings } from "./settings.js";

const settings = new Settings();
const models = new Models(() => void connect());
const documents = new Documents({
    models,
    onChoose: (memory) => chat.turnTo(memory),
    // an answer or a half-written question is not interrupted
    onRead: (memory) => {
        if (!chat.isBusy && element("question").value === "") chat.turnTo(memory);
    },
    onChange: () => chat.showSubject()
});
const chat = new Chat({ chats: new Chats(), settings, documents, models });

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
        await models.refresh(({ id }) => {
            element("model").textContent = `${id} · is being loaded …`;
        });
        const { id, armt } = models.current;
        element("model").textContent = armt
            ? `${id} · segments of ${armt.segment_size} tokens · ${armt.schedule} schedule`
            : `${id} · a plain model, whose context has an end`;
        element("about").textContent = about(models.current);
        settings.showDefaults(models.current.defaults);
        element("document").hidden = armt === undefined;
        element("subject").hidden = armt === undefined;
        documents.sample = armt?.sample;
        element("sample").hidden = documents.sample === undefined;
        if (armt !== undefined) {
            showModelFigures(armt);
            await documents.refresh();
            // an upload that a reload cut off becomes a partial memory a moment later
            setTimeout(() => void documents.refresh().catch(() => {}), 2000);
        }
        chat.show();
        chat.say("");
    } catch (error) {
        element("model").textContent = "not connected";
        chat.say(error.message);
    }
}

document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !element("settings").open) chat.stop();
});
// another tab or client may have changed what the server holds
addEventListener("focus", () => {
    if (models.current?.armt !== undefined) void documents.refresh().catch(() => {});
});
takeDrops(element("drop"), (files) => {
    if (models.current?.armt !== undefined) documents.add(files);
    else chat.say("This model reads no documents.");
});
// a server without a key does not ask for one
element("access").hidden = !hasKey();
onKeyNeeded(() => {
    element("access").hidden = false;
    element("access").open = true;
});
element("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    useKey(element("key").value);
    element("key").value = "";
    element("access").open = false;
    void connect();
});
void connect();
