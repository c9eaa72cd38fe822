import { make } from "./dom.js";

/** Copies a text. `navigator.clipboard` exists only on HTTPS and on this machine's own addresses. */
export async function copy(text) {
    if (navigator.clipboard !== undefined) return await navigator.clipboard.writeText(text);
    const focused = document.activeElement;
    const area = make("textarea", { value: text, className: "offscreen" });
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    focused?.focus();
    if (!copied) throw new Error("this browser does not let a page copy");
}

/** Copies, and says so on the button for a moment. */
export async function copyWith(clicked, text) {
    const before = clicked.textContent;
    try {
        await copy(text);
        clicked.textContent = "Copied";
    } catch {
        clicked.textContent = "Not copied";
    }
    setTimeout(() => {
        clicked.textContent = before;
    }, 1500);
}
