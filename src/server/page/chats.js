import { randomName } from "./random-name.js";
import { load, save } from "./storage.js";

const maxChats = 50;

/** The chats that this browser keeps. Each has `id`, `memory` (id and name of its document) and `messages`. */
export class Chats {
    /** The newest first. */
    get all() {
        return load("chats", []);
    }

    get current() {
        const id = load("chat", undefined);
        return this.all.find((chat) => chat.id === id);
    }

    set current({ id }) {
        save("chat", id);
    }

    create(memory) {
        return { id: randomName(), memory: memory && { id: memory.id, name: memory.name }, messages: [] };
    }

    /** Keeps a chat; the oldest go if there is no room. */
    keep(chat) {
        // another tab may have changed the list
        let chats = [chat, ...this.all.filter(({ id }) => id !== chat.id)].slice(0, maxChats);
        while (!save("chats", chats) && chats.length > 1) chats = chats.slice(0, -1);
    }

    delete(id) {
        save(
            "chats",
            this.all.filter((chat) => chat.id !== id)
        );
    }
}

export function titleOf({ messages, memory }) {
    const title = messages[0]?.content.slice(0, 80) ?? "Empty chat";
    return memory === undefined ? title : `${title} (${memory.name})`;
}
