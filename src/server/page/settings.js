import { element } from "./dom.js";
import { load, save } from "./storage.js";

/** Field of a request and of the form, and whether it is a number. */
const fields = [
    ["temperature", true],
    ["top_p", true],
    ["max_tokens", true],
    ["seed", true],
    ["system", false]
];

const input = (name) => element(`setting-${name}`);

/** What the user sets for answers. A field that is empty leaves the choice to the model's file and the server. */
export class Settings {
    values = load("settings", {});

    constructor() {
        const dialog = element("settings");
        element("open-settings").addEventListener("click", () => dialog.showModal());
        element("close-settings").addEventListener("click", () => dialog.close());
        element("reset-settings").addEventListener("click", () => {
            this.values = {};
            save("settings", {});
            this.show();
        });
        for (const [name] of fields) input(name).addEventListener("input", () => this.take(name));
        this.show();
    }

    /** Shows what applies to a field that is empty. */
    showDefaults(defaults) {
        // a file's numbers have the precision of 32 bits
        for (const [name] of fields)
            if (defaults[name] !== undefined) input(name).placeholder = String(Number(defaults[name].toPrecision(6)));
    }

    /** The parameters of a request, without the system text. */
    get parameters() {
        const numbers = fields.filter(([name, isNumber]) => isNumber && this.values[name] !== undefined);
        return Object.fromEntries(numbers.map(([name]) => [name, this.values[name]]));
    }

    get system() {
        return this.values.system?.trim() ? this.values.system : undefined;
    }

    take(name) {
        const field = input(name);
        // a value out of range is marked by the browser and not used
        const value = field.value === "" || !field.checkValidity() ? undefined : field.value;
        this.values[name] = value === undefined || name === "system" ? value : Number(value);
        save("settings", this.values);
    }

    show() {
        for (const [name] of fields) input(name).value = this.values[name] ?? "";
    }
}
