import type { Request } from "playwright-core";
import { inBrowser, openPage } from "../../helpers/browser.js";
import { untilTrue } from "../../helpers/browser-driver.js";
import { until } from "../../helpers/until.js";

const template = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}{{ '<|assistant|>' }}";
const special = ["<|user|>", "<|system|>", "<|assistant|>"];
const says = (...pieces: string[]) => ({ special, template, script: [["<|assistant|>", ...pieces, "<eos>"]] });
/** An answer that never ends. */
const endless = { special, template, script: [["<|assistant|>", "la", " li", "la"]] };

const bodyOf = (request: Request) => request.postDataJSON() as Record<string, unknown> & { messages: unknown[] };
const isChat = (request: Request) => request.url().endsWith("/v1/chat/completions");

inBrowser("Markdown is shown, nothing of it runs or leaves the page, and code can be copied", async (t) => {
    const pieces = [
        "# Title\n\nSome **bold** text, [a link](https://example.com) and [a trap](javascript:alert(1)).\n\n",
        "```js\nlet a = 1;\nif (a < 2) a++;\n```\n\n",
        "<script>document.title = 'hit'</script><img src=x onerror=\"document.title='hit'\">\n\n",
        "![spy](https://example.com/spy.png)\n\n1. one\n2. two\n\n| a | b |\n| - | - |\n| 1 | 2 |\n"
    ];
    const { page, problems, foreign, url } = await openPage(t, { tiny: says(...pieces) });
    await page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: url });
    await page.getByText(/segments of 64 tokens/).waitFor();
    await page.locator("#question").fill("Say <b>something</b>");
    await page.locator("#question").press("Enter");
    await page.getByText(/Answer done/).waitFor();
    const answer = page.locator("#log .assistant .content");
    t.is(await answer.locator("h1").textContent(), "Title");
    t.is(await answer.locator("strong").textContent(), "bold");
    t.is(await answer.locator("ol li").count(), 2);
    t.is(await answer.locator("td").count(), 2);
    t.is(await answer.locator("script, img").count(), 0);
    t.is(await answer.getByText("a trap").getAttribute("href"), null);
    t.is(await answer.getByText("a link").getAttribute("rel"), "noopener noreferrer");
    t.is(await answer.getByText("spy").getAttribute("href"), "https://example.com/spy.png");
    await answer.getByText("<script>document.title = 'hit'</script>").waitFor();
    t.is(await page.title(), "ARMT");
    t.is(await page.locator("#log .user .content").textContent(), "Say <b>something</b>");
    await page.getByRole("button", { name: "Copy the code" }).click();
    await page.getByText("Copied").waitFor();
    t.is(await page.evaluate("navigator.clipboard.readText()"), "let a = 1;\nif (a < 2) a++;");
    await page.getByRole("button", { name: "Copy this answer" }).click();
    await untilTrue(page, `navigator.clipboard.readText().then((text) => text.startsWith("# Title"))`);
    t.is(await page.evaluate("navigator.clipboard.readText()"), pieces.join(""));
    const copyButtons = page.getByRole("button", { name: /^Copy (the code|this answer)$/ });
    await untilTrue(page, "![...document.querySelectorAll('button')].some((one) => one.textContent === 'Copied')");
    t.is(await copyButtons.count(), 2);
    // a second click while the first one is still shown, in a browser that does not let the page use its clipboard
    await page.evaluate("navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed'))");
    await copyButtons.first().dblclick();
    await page.getByText("Copied").waitFor();
    await page.getByText("Copied").waitFor({ state: "detached" });
    t.is(await copyButtons.count(), 2);
    t.is(await page.evaluate("navigator.clipboard.readText()"), pieces.join(""));
    await page.evaluate("document.execCommand = () => false");
    await copyButtons.first().click();
    await page.getByText("Not copied").waitFor();
    t.deepEqual(problems, []);
    t.deepEqual(foreign, []);
});

inBrowser("a question is edited and an answer regenerated, and chats are there after a reload", async (t) => {
    const { page, problems } = await openPage(t, { tiny: says("Yes", ".") });
    await page.getByText(/segments of 64 tokens/).waitFor();
    const bodies: ReturnType<typeof bodyOf>[] = [];
    page.on("request", (request) => isChat(request) && bodies.push(bodyOf(request)));
    const ask = async (text: string) => {
        await page.locator("#question").fill(text);
        await page.locator("#question").press("Enter");
        await page.getByText(/Answer done/).waitFor();
    };
    const said = (...messages: [string, string][]) => messages.map(([role, content]) => ({ role, content }));
    await ask("First?");
    await ask("Second?");
    t.deepEqual(bodies.at(-1)!.messages, said(["user", "First?"], ["assistant", "Yes."], ["user", "Second?"]));
    await page.getByRole("button", { name: "Regenerate this answer" }).last().click();
    await until(() => bodies.length === 3, "the request is repeated");
    await page.getByText(/Answer done/).waitFor();
    t.deepEqual(bodies[2]!.messages, bodies[1]!.messages);
    t.is(await page.locator("#log > li").count(), 4);
    await page.getByRole("button", { name: "Edit this question" }).first().click();
    await page.getByLabel("Edit the question").fill("Another?");
    await page.getByRole("button", { name: "Ask again" }).click();
    await until(() => bodies.length === 4, "the edited question is asked");
    await page.getByText(/Answer done/).waitFor();
    t.deepEqual(bodies[3]!.messages, said(["user", "Another?"]));
    t.deepEqual(await page.locator("#log .content").allInnerTexts(), ["Another?", "Yes."]);
    await page.getByRole("button", { name: "Edit this question" }).first().click();
    await page.getByLabel("Edit the question").press("Escape");
    t.deepEqual(await page.locator("#log .content").allInnerTexts(), ["Another?", "Yes."]);

    await page.getByRole("button", { name: "New chat" }).click();
    t.is(await page.locator("#log > li").count(), 0);
    await ask("In the new chat?");
    await page.reload();
    await page.getByText("In the new chat?").waitFor();
    await page.getByText("Earlier chats (1)").click();
    await page.getByRole("button", { name: "Open the chat: Another?" }).click();
    t.deepEqual(await page.locator("#log .content").allInnerTexts(), ["Another?", "Yes."]);
    await ask("Further?");
    t.deepEqual(bodies.at(-1)!.messages, said(["user", "Another?"], ["assistant", "Yes."], ["user", "Further?"]));
    await page.getByRole("button", { name: "Delete the chat: In the new chat?" }).click();
    t.false(await page.locator("#earlier").isVisible());
    t.deepEqual(problems, []);
});

inBrowser("New chat ends the answer that is being written, and so do Stop and another chat", async (t) => {
    const { page, server, problems } = await openPage(t, { tiny: endless });
    await page.getByText(/segments of 64 tokens/).waitFor();
    const { pool } = server.engine;
    const ask = async () => {
        await page.locator("#question").fill("Sing");
        await page.locator("#question").press("Enter");
        await page.getByText(/la li/).waitFor();
        t.is(pool.busy, 1);
    };
    await ask();
    await page.getByRole("button", { name: "New chat" }).click();
    await until(() => pool.busy === 0, "New chat ended it");
    t.is(await page.locator("#log > li").count(), 0);
    t.is(await page.locator("#status").textContent(), "");
    await ask();
    await page.getByRole("button", { name: "Stop", exact: true }).click();
    await until(() => pool.busy === 0, "Stop ended it");
    t.is(await page.locator("#status").textContent(), "Stopped.");
    await page.getByRole("button", { name: "Regenerate this answer" }).click();
    await until(() => pool.busy === 1, "it is written again");
    await page.getByText("Earlier chats (1)").click();
    await page.getByRole("button", { name: "Open the chat: Sing" }).click();
    await until(() => pool.busy === 0, "another chat ended it");
    t.regex((await page.locator("#log .assistant .content").textContent())!, /^la li/);
    t.deepEqual(problems, []);
});

inBrowser("a question can be edited, and an answer regenerated, while an answer is being written", async (t) => {
    const { page, server, problems } = await openPage(t, { tiny: endless });
    await page.getByText(/segments of 64 tokens/).waitFor();
    const { pool } = server.engine;
    const asked: unknown[] = [];
    page.on("request", (request) => isChat(request) && asked.push(bodyOf(request).messages));
    const isWriting = async (requests: number) => {
        await until(() => asked.length === requests, "the question is asked");
        await page.locator("#log .assistant").last().getByText(/la li/).waitFor();
        t.is(await page.locator("#status").textContent(), "Writing the answer …");
        await until(() => pool.busy === 1, "only the new answer is written");
    };
    const stop = () => page.getByRole("button", { name: "Stop", exact: true }).click();
    await page.locator("#question").fill("Sing");
    await page.locator("#question").press("Enter");
    await isWriting(1);
    await page.getByRole("button", { name: "Edit this question" }).click();
    await page.getByLabel("Edit the question").fill("Hum");
    await page.getByRole("button", { name: "Ask again" }).click();
    await isWriting(2);
    t.deepEqual(asked[1], [{ role: "user", content: "Hum" }]);
    t.is(await page.locator("#log > li").count(), 2);
    await stop();
    await page.locator("#question").fill("More");
    await page.locator("#question").press("Enter");
    await isWriting(3);
    await page.getByRole("button", { name: "Regenerate this answer" }).first().click();
    await isWriting(4);
    t.deepEqual(asked[3], asked[1]);
    t.is(await page.locator("#log > li").count(), 2);
    await stop();
    await until(() => pool.busy === 0, "Stop ended it");
    t.deepEqual(problems, []);
});

inBrowser("settings are kept in the browser and sent; empty and invalid ones are left to the server", async (t) => {
    const { page, problems } = await openPage(t, { tiny: says("Yes"), defaultMaxTokens: 77 });
    await page.getByText(/segments of 64 tokens/).waitFor();
    const ask = async () => {
        const asked = page.waitForRequest(isChat);
        await page.locator("#question").fill("Well?");
        await page.locator("#question").press("Enter");
        const body = bodyOf(await asked);
        await page.getByText(/Answer done/).waitFor();
        return body;
    };
    const set = async (values: Record<string, string>) => {
        await page.getByRole("button", { name: "Settings" }).click();
        for (const [name, value] of Object.entries(values)) await page.locator(`#setting-${name}`).fill(value);
        await page.getByRole("button", { name: "Close" }).click();
    };
    for (const name of ["temperature", "top_p", "seed", "max_tokens"]) t.false(name in (await ask()));
    t.is(await page.locator("#setting-max_tokens").getAttribute("placeholder"), "77");
    t.is(await page.locator("#setting-temperature").getAttribute("placeholder"), "1");
    await set({ temperature: "0.3", top_p: "0.9", seed: "7", max_tokens: "12", system: "Be brief." });
    await page.reload();
    await page.getByText(/segments of 64 tokens/).waitFor();
    await page.getByRole("button", { name: "New chat" }).click();
    const body = await ask();
    t.like(body, { temperature: 0.3, top_p: 0.9, seed: 7, max_tokens: 12 });
    t.deepEqual(body.messages[0], { role: "system", content: "Be brief." });
    await set({ temperature: "3" });
    t.false("temperature" in (await ask()));
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByRole("button", { name: "Use the defaults" }).click();
    await page.getByRole("button", { name: "Close" }).click();
    const plain = await ask();
    t.false("seed" in plain);
    t.like(plain.messages[0], { role: "user" });
    t.deepEqual(problems, []);
});

inBrowser("a failed answer says why, and the next question does not repeat it", async (t) => {
    const { page } = await openPage(t, { tiny: says("Yes") });
    await page.getByText(/segments of 64 tokens/).waitFor();
    await page.route("**/v1/chat/completions", (route) => route.abort(), { times: 1 });
    await page.locator("#question").fill("First?");
    await page.locator("#question").press("Enter");
    await page
        .locator("#log .error")
        .getByText(/The server cannot be reached/)
        .waitFor();
    const asked = page.waitForRequest(isChat);
    await page.locator("#question").fill("Second?");
    await page.locator("#question").press("Enter");
    t.deepEqual(bodyOf(await asked).messages, [{ role: "user", content: "Second?" }]);
    await page.getByText(/Answer done/).waitFor();
});
