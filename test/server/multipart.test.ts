import test from "ava";
import { send, startServer } from "../helpers/server.js";

const line = "The lamp is in the kitchen — and nobody has moved it since.\n";

async function upload(url: string, form: FormData): Promise<{ status: number; body: Record<string, unknown> }> {
    const response = await fetch(url, { method: "POST", body: form });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

function formWith(field: string, content: string | Buffer, name: string): FormData {
    const form = new FormData();
    form.append("comment", "a field that has no meaning");
    form.append(field, new Blob([typeof content === "string" ? content : new Uint8Array(content)]), name);
    return form;
}

test("a document in a form is read like one in a body, under its file's name, and so is a memory file", async (t) => {
    const { url } = await startServer(t);
    const memories = `${url}/v1/armt/memories`;
    // larger than what arrives at once
    const text = line.repeat(1200);
    const whole = (await send(memories, { headers: { "content-type": "text/plain" }, body: text })).json();
    const { status, body } = await upload(memories, formWith("file", text, "book.txt"));
    t.is(status, 201);
    t.like(body, { name: "book.txt", tokens: whole.tokens, characters: text.length, status: "complete" } as never);
    const named = await upload(`${memories}?name=mine`, formWith("file", line, "book.txt"));
    t.is(named.body.name, "mine");
    const saved = Buffer.from(await (await fetch(`${memories}/${body.id}/file`)).arrayBuffer());
    const loaded = await upload(`${memories}/file`, formWith("file", saved, "saved.armt"));
    t.is(loaded.status, 201);
    t.is(loaded.body.tokens, whole.tokens);
});

test("a form without a file, with two, cut off or broken is a 400, and the server continues", async (t) => {
    const { url, server } = await startServer(t);
    const memories = `${url}/v1/armt/memories`;
    const two = formWith("file", line, "a.txt");
    two.append("file", new Blob([line]), "b.txt");
    const empty = new FormData();
    empty.append("name", "book");
    for (const [form, reason] of [
        [formWith("document", line, "a.txt"), /field `file`, not `document`/],
        [two, /more than one file/],
        [empty, /no file/],
        [formWith("file", Buffer.of(0xff, 0xfe, 0, 0xd8, 0xff), "a.bin"), /UTF-16/]
    ] as const) {
        const { status, body } = await upload(memories, form);
        t.is(status, 400);
        t.regex(String((body.error as { message: string }).message), reason);
    }
    const begin = '--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nThe lamp';
    for (const [type, body] of [
        ["multipart/form-data", begin],
        ["multipart/form-data; boundary=x", begin],
        ["multipart/form-data; boundary=x", "no form at all"]
    ] as const) {
        const { status } = await send(memories, { headers: { "content-type": type }, body });
        t.is(status, 400, type + body);
    }
    t.is(server.uploads.bytes, 0);
    t.is((await upload(memories, formWith("file", line, "a.txt"))).status, 201);
});
