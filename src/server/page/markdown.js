import { copyButton } from "./clipboard.js";
import { make } from "./dom.js";
import DOMPurify from "./vendor/dompurify.js";
import { Marked } from "./vendor/marked.js";

const escapeHtml = (text) => text.replace(/[&<>"]/g, (character) => escapes[character]);
const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

const marked = new Marked({
    gfm: true,
    breaks: true,
    renderer: {
        // a model's HTML is text: rendered, it could look like a part of the page
        html: ({ text }) => escapeHtml(text),
        // nothing is loaded from elsewhere
        image: ({ href, text }) => `<a href="${escapeHtml(href)}">${escapeHtml(text || href)}</a>`
    }
});

const sanitizing = {
    USE_PROFILES: { html: true },
    FORBID_TAGS: ["style", "form", "input", "button", "img", "audio", "video"],
    FORBID_ATTR: ["style", "id", "name"],
    ALLOW_DATA_ATTR: false,
    RETURN_DOM_FRAGMENT: true
};

/** Markdown as elements that are safe to show. */
export function renderMarkdown(text) {
    const fragment = DOMPurify.sanitize(marked.parse(text), sanitizing);
    for (const link of fragment.querySelectorAll("a")) {
        link.target = "_blank";
        link.rel = "noopener noreferrer";
    }
    for (const pre of fragment.querySelectorAll("pre")) addCopyButton(pre);
    for (const table of fragment.querySelectorAll("table")) {
        const frame = make("div", { className: "table", tabIndex: 0, role: "region", aria: { label: "Table" } });
        table.replaceWith(frame);
        frame.append(table);
    }
    return fragment;
}

function addCopyButton(pre) {
    const code = pre.querySelector("code");
    const language = /language-([\w+#-]+)/.exec(code?.className ?? "")?.[1] ?? "";
    const copying = copyButton("Copy the code", () => pre.textContent.replace(/\n$/, ""));
    const head = make("div", { className: "code-head" }, make("span", { textContent: language }), copying);
    const frame = make("div", { className: "code" }, head);
    // a wide line is scrolled with the keyboard too
    pre.tabIndex = 0;
    pre.setAttribute("role", "region");
    pre.setAttribute("aria-label", language === "" ? "Code" : `Code, ${language}`);
    pre.replaceWith(frame);
    frame.append(pre);
}
