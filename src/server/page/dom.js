export const element = (id) => document.getElementById(id);

/** A new element. Properties are set as they are; those of `data` and `aria` become attributes. */
export function make(tag, { aria = {}, data = {}, ...properties } = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    for (const [name, value] of Object.entries(aria)) made.setAttribute(`aria-${name}`, value);
    Object.assign(made.dataset, data);
    made.append(...children);
    return made;
}

/** @param label what a screen reader says, where the text alone does not name the object */
export function button(text, onClick, label = text) {
    const made = make("button", { type: "button", textContent: text });
    if (label !== text) made.setAttribute("aria-label", label);
    made.addEventListener("click", onClick);
    return made;
}
