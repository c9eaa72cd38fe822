import { copyButton } from "./clipboard.js";
import { button, make } from "./dom.js";
import { renderMarkdown } from "./markdown.js";

/** Time between two renderings of an answer that is being written. Unit: milliseconds. */
const renderInterval = 80;

/** One message of the chat as the page shows it. */
export class MessageView {
    pending = undefined;

    /** @param actions `edit(text)` for a question; `regenerate()` for an answer */
    constructor(message, actions) {
        this.message = message;
        this.actions = actions;
        const isQuestion = message.role === "user";
        this.content = make("div", { className: "content" });
        this.row = make("div", { className: "row actions" });
        if (isQuestion) this.row.append(button("Edit", () => this.edit(), "Edit this question"));
        else
            this.row.append(
                copyButton("Copy this answer", () => this.message.content),
                button("Regenerate", () => this.actions.regenerate(), "Regenerate this answer")
            );
        const who = make("h3", { className: "who", textContent: isQuestion ? "You" : "Model" });
        const head = make("div", { className: "row" }, who, this.row);
        this.element = make("li", { className: message.role }, head, this.content);
        this.render();
    }

    /** Shows the message as it is now, soon. */
    update() {
        this.pending ??= setTimeout(() => {
            this.pending = undefined;
            this.render();
        }, renderInterval);
    }

    render() {
        clearTimeout(this.pending);
        this.pending = undefined;
        const { role, content, error, note } = this.message;
        if (role === "user") this.content.textContent = content;
        else this.content.replaceChildren(renderMarkdown(content));
        if (error !== undefined) this.content.append(make("p", { className: "error", textContent: error }));
        if (note !== undefined) this.content.append(make("p", { className: "note", textContent: note }));
    }

    edit() {
        const area = make("textarea", { value: this.message.content, rows: 3, aria: { label: "Edit the question" } });
        const end = () => {
            this.element.classList.remove("editing");
            form.replaceWith(this.content);
            this.row.hidden = false;
            this.row.querySelector("button").focus();
        };
        const form = make(
            "form",
            {},
            area,
            make(
                "div",
                { className: "row" },
                make("button", { type: "submit", className: "primary", textContent: "Ask again" }),
                button("Cancel", end, "Cancel the edit")
            )
        );
        form.addEventListener("submit", (event) => {
            event.preventDefault();
            if (area.value.trim() !== "") this.actions.edit(area.value);
        });
        form.addEventListener("keydown", (event) => {
            if (event.key !== "Escape") return;
            event.stopPropagation();
            end();
        });
        this.content.replaceWith(form);
        this.row.hidden = true;
        area.focus();
    }
}
