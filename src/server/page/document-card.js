import { button, make } from "./dom.js";
import { bytes, count, plural } from "./format.js";

/** The radio button of a document, or of none. */
function choice(id, text, onChoose) {
    const radio = make("input", { type: "radio", name: "document", value: id });
    radio.addEventListener("change", onChoose);
    return make("label", { className: "choice" }, radio, make("span", { className: "name", textContent: text }));
}

/** The card for a chat without a document. */
export function makeEmptyCard(onChoose) {
    return make("li", { className: "card" }, choice("", "No document", onChoose));
}

/**
 * The card of a memory that the server holds.
 * @param actions `choose`, `continue`, `save` and `delete`
 * @param tellsModel whether to show which model read it
 */
export function makeMemoryCard(memory, actions, tellsModel) {
    const { name, tokens, bytes: size, status, characters, model } = memory;
    const isPartial = status === "partial";
    const state = isPartial ? `partly read, ${count(characters)} characters` : "read to its end";
    const facts = make("p", {
        className: "facts",
        textContent: `${plural(tokens, "token")} · ${bytes(size)} of memory · ${state}${tellsModel ? ` · ${model}` : ""}`
    });
    const row = make("div", { className: "row" });
    if (isPartial) row.append(button("Continue reading", () => actions.continue(memory), `Continue reading ${name}`));
    row.append(
        button("Save", () => actions.save(memory), `Save the memory of ${name} to a file`),
        button("Delete", () => actions.delete(memory), `Delete ${name}`)
    );
    return make(
        "li",
        { className: "card" },
        choice(memory.id, name, () => actions.choose(memory)),
        facts,
        row
    );
}

/** The card of a file that is being read, waits for that, or failed. */
export class TaskCard {
    constructor(name, onStop) {
        this.name = name;
        this.facts = make("p", { className: "facts", textContent: "waits for the file before it" });
        this.button = button("Stop", onStop, `Stop reading ${name}`);
        this.element = make(
            "li",
            { className: "card task" },
            make("span", { className: "name", textContent: name }),
            this.facts,
            make("div", { className: "row" }, this.button)
        );
    }

    say(text) {
        this.facts.textContent = text;
    }

    show(tokens, part) {
        this.say(`${plural(tokens, "token")} read, ${Math.floor(100 * part)} %`);
    }

    fail(message, onDismiss) {
        this.element.classList.add("failed");
        this.facts.setAttribute("role", "alert");
        this.say(message);
        const dismissing = button("Dismiss", onDismiss, `Dismiss ${this.name}`);
        this.button.replaceWith(dismissing);
        this.button = dismissing;
    }
}
