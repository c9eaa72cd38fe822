import { make } from "./dom.js";

/** Copies a text. `navigator.clipboard` exists only on HTTPS and on this machine's own addresses. */
export async function copy(text) {
    try {
        await navigator.clipboard.writeText(text);
    } catch {
        // there is none, or the browser does not allow it
        copySelected(text);
    }
}

function copySelected(text) {
    const focused = document.activeElement;
    const area = make("textarea", { value: text, className: "offscreen", readOnly: true });
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    if (!copied) throw new Error("this browser does not let a page copy");
}

/** A button that copies a text, and says so for a moment. */
export function copyButton(label, text) {
    let timer;
    const say = (shown, spoken) => {
        made.textContent = shown;
        made.setAttribute("aria-label", spoken);
    };
    const made = make("button", { type: "button" });
    say("Copy", label);
    made.addEventListener("click", async () => {
        const shown = await copy(text()).then(
            () => "Copied",
            () => "Not copied"
        );
        say(shown, shown);
        clearTimeout(timer);
        timer = setTimeout(() => say("Copy", label), 1500);
    });
    return made;
}
