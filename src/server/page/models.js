import { call } from "./api.js";
import { element, make } from "./dom.js";
import { load, save } from "./storage.js";

const json = { "Content-Type": "application/json" };

/** The models of the server, and the one that the user chose. */
export class Models {
    /** As the server describes them, the default first. */
    all = [];
    current = undefined;

    /** @param onChoose called when the user chooses another model */
    constructor(onChoose) {
        element("models").addEventListener("change", ({ target }) => {
            save("model", target.value);
            onChoose();
        });
    }

    /** What a request says about the model: nothing if there is only one. */
    get parameter() {
        return this.all.length > 1 ? { model: this.current.id } : {};
    }

    /**
     * Asks the server for its models, and has the chosen one loaded.
     * @param onLoading called if that takes a while
     */
    async refresh(onLoading) {
        await this.list();
        if (this.all.length < 2 || this.current.status.value === "loaded") return;
        onLoading(this.current);
        const { id } = this.current;
        await call("models/load", { method: "POST", headers: json, body: JSON.stringify({ model: id }) });
        await this.list();
    }

    async list() {
        this.all = (await (await call("v1/models")).json()).data;
        const wanted = load("model", undefined);
        const find = (fits) => this.all.find(fits);
        this.current =
            find(({ id }) => id === wanted) ?? find(({ status }) => status.value === "loaded") ?? this.all[0];
        const options = this.all.map(({ id }) => make("option", { value: id, textContent: id }));
        element("models").replaceChildren(...options);
        element("models").value = this.current.id;
        element("models-label").hidden = this.all.length < 2;
    }
}
