import { readFileSync } from "node:fs";
import path from "node:path";
import { recallQuestionForms } from "../../../src/eval/recall/question-forms.js";
import { makeRecallSample, recallDescription } from "../../../src/eval/recall/sample.js";
import { recallModelId, recallModelPath } from "../../../src/model/embedded-model.js";
import { inBrowser, openPage } from "../../helpers/browser.js";
import { dropFiles, screenshot, untilTrue } from "../../helpers/browser-driver.js";
import { temporaryFolder } from "../../helpers/temporary.js";
import { until } from "../../helpers/until.js";

const book = Array.from({ length: 400 }, (_, i) => `Line ${i}: the lamp is in room ${(i * 7) % 31}.\n`).join("");
const file = (name: string, text: string | Buffer) => ({
    name,
    mimeType: "text/plain",
    buffer: typeof text === "string" ? Buffer.from(text) : text
});
const count = (value: number) => new Intl.NumberFormat("en").format(value);

inBrowser("the page reads a document with a live bar and picture, and answers a question on it", async (t) => {
    const { page, server, problems, foreign } = await openPage(t, { tiny: { layers: 4 } });
    await page.getByText(/segments of 64 tokens/).waitFor();
    const seen = new Set<string>();
    const watching = setInterval(
        () =>
            void page
                .locator("#cells")
                .getAttribute("aria-label")
                .then((text) => seen.add(text ?? ""))
                .catch(() => {}),
        50
    );
    await page.getByLabel(/Drop texts/).setInputFiles(file("book.txt", book.repeat(4)));
    await untilTrue(page, "document.getElementById('bar').value > 0.2");
    await screenshot(page, "reading");
    await page.getByText(/book.txt is ready/).waitFor();
    clearInterval(watching);
    t.true(seen.size >= 3, "the picture changes while the document is read");
    const [memory] = server.registry.list();
    t.is(memory!.name, "book.txt");
    t.is(await page.locator("#tokens").textContent(), count(memory!.snapshot.tokensRead));
    t.regex((await page.locator(".card .facts").textContent())!, /^[\d,]+ tokens · [\d.]+ KiB of memory · read to its/);
    t.is(await page.locator("#subject").textContent(), "About book.txt");

    await page.locator("#question").fill("Where is the lamp?");
    await page.getByRole("button", { name: "Settings" }).click();
    await page.getByLabel("Tokens at most").fill("24");
    await page.getByRole("button", { name: "Close" }).click();
    await page.locator("#question").press("Enter");
    await page.getByText(/Answer done/).waitFor();
    const cached = count(memory!.snapshot.tokensRead);
    t.regex((await page.locator("#status").textContent())!, new RegExp(`${cached} of them not read again`));
    t.is(await page.locator("#log > li").count(), 2);
    page.on("dialog", (dialog) => void dialog.accept());
    await page.getByRole("button", { name: "Delete book.txt" }).click();
    await page.getByText("About book.txt, which the server no longer holds").waitFor();
    t.is(server.registry.count, 0);
    await page.locator("#question").fill("And now?");
    await page.locator("#question").press("Enter");
    await page.getByText(/The server no longer holds book.txt/).waitFor();
    t.is(await page.locator("#log > li").count(), 2);
    t.deepEqual(problems, []);
    t.deepEqual(foreign, []);
});

inBrowser("several documents: choose, save, delete and load; they are there after a reload", async (t) => {
    const { page, server, problems } = await openPage(t);
    await page.getByLabel(/Drop texts/).setInputFiles([file("one.txt", book), file("two.txt", book.slice(500))]);
    await page.getByText(/two.txt is ready/).waitFor();
    t.is(await page.locator("#subject").textContent(), "About two.txt");
    await page.getByRole("radio", { name: "one.txt" }).check();
    t.is(await page.locator("#subject").textContent(), "About one.txt");
    const downloading = page.waitForEvent("download");
    await page.getByRole("button", { name: "Save the memory of one.txt to a file" }).click();
    const download = await downloading;
    t.is(download.suggestedFilename(), "one.txt.armt");
    const saved = path.join(temporaryFolder(t), "one.txt.armt");
    await download.saveAs(saved);

    await page.reload();
    await page.getByRole("radio", { name: "one.txt" }).waitFor();
    t.is(await page.locator("#documents .card").count(), 3);
    page.on("dialog", (dialog) => void dialog.accept());
    await page.getByRole("button", { name: "Delete one.txt" }).click();
    await until(() => server.registry.count === 1, "it is deleted");
    await page.getByLabel(/Drop texts/).setInputFiles(saved);
    await page.getByText(/one.txt is ready/).waitFor();
    t.is(server.registry.list().at(-1)!.name, "one.txt");
    await screenshot(page, "documents");
    await page.getByLabel(/Drop texts/).setInputFiles(file("damaged.armt", readFileSync(saved).subarray(0, 5000)));
    await page
        .locator(".failed")
        .getByText(/the memory file cannot be loaded: it is damaged/)
        .waitFor();
    await page.getByRole("button", { name: "Dismiss damaged.armt" }).click();
    t.is(await page.locator(".failed").count(), 0);
    t.deepEqual(problems, []);
});

inBrowser("the chosen document's card is in view, and a new chat lets go of a document that is deleted", async (t) => {
    const { page, problems } = await openPage(t);
    const names = Array.from({ length: 6 }, (_, i) => `text-${i}.txt`);
    const refused = ["a.pdf", "b.pdf", "c.pdf"].map((name) => file(name, "%PDF-1.7"));
    await page.getByLabel(/Drop texts/).setInputFiles([...refused, ...names.map((name) => file(name, "A lamp. "))]);
    await page.getByText(/text-5.txt is ready/).waitFor();
    t.is(await page.locator("#subject").textContent(), "About text-5.txt");
    const isInView = `(() => {
        const list = document.getElementById("documents").getBoundingClientRect();
        const card = document.querySelector(".card:has(input:checked)").getBoundingClientRect();
        return card.top >= list.top - 1 && card.bottom <= list.bottom + 1;
    })()`;
    t.true(await page.evaluate(isInView));
    // what could not be read comes last
    t.deepEqual(await page.locator(".card .name").allTextContents(), [
        "No document",
        ...names,
        "a.pdf",
        "b.pdf",
        "c.pdf"
    ]);
    page.once("dialog", (dialog) => void dialog.accept());
    await page.getByRole("button", { name: "Delete text-5.txt" }).click();
    await page.getByText("text-5.txt is deleted.").waitFor();
    t.is(await page.locator("#subject").textContent(), "Without a document");
    t.true(await page.evaluate(isInView));
    t.deepEqual(problems, []);
});

inBrowser("a stopped document is partly read, and is continued in this session and after a reload", async (t) => {
    const { page, server, problems } = await openPage(t, { tiny: { layers: 4 } });
    const text = `${"é — ".repeat(200)}${book.repeat(8)}`;
    const whole = file("long.txt", text);
    const stopAt = async (tenth: number) => {
        await page.getByText(new RegExp(`Reading long.txt: [${tenth}-9]0 %`)).waitFor();
        await page.getByRole("button", { name: "Stop reading long.txt" }).click();
        await page.getByText(/Stopped. [\d,]+ tokens of long.txt are read/).waitFor();
    };
    await page.getByLabel(/Drop texts/).setInputFiles(whole);
    await stopAt(1);
    t.deepEqual(
        server.registry.list().map(({ status }) => status),
        ["partial"]
    );
    t.is(server.engine.pool.busy, 0);
    const first = server.registry.list()[0]!.characters;
    await page.getByRole("button", { name: "Continue reading long.txt" }).click();
    await stopAt(5);
    t.is(server.registry.count, 1);
    t.true(server.registry.list()[0]!.characters > first);

    await page.reload();
    const choose = async (chosen: ReturnType<typeof file>) => {
        const choosing = page.waitForEvent("filechooser");
        await page.getByRole("button", { name: "Continue reading long.txt" }).click();
        await (await choosing).setFiles(chosen);
    };
    await choose(file("other.txt", text));
    await page.getByText("other.txt is not long.txt, which was partly read.").waitFor();
    await choose(file("long.txt", "changed"));
    await page.getByText(/long.txt has changed since/).waitFor();
    await choose(whole);
    await page.getByText(/long.txt is ready/).waitFor();
    const [memory] = server.registry.list();
    t.is(server.registry.count, 1);
    t.is(memory!.status, "complete");
    t.is(memory!.characters, text.length);
    t.is(memory!.snapshot.tokensRead, (await server.engine.tokenize(text, { begin: true })).length);
    t.deepEqual(problems, []);
});

inBrowser("a long name, a second click and a file that is gone do no harm", async (t) => {
    const { page, server, problems } = await openPage(t, { tiny: { layers: 4 } });
    const name = `${"n".repeat(230)}.txt`;
    const shown = name.slice(0, 200);
    await page.getByLabel(/Drop texts/).setInputFiles(file(name, book.repeat(8)));
    await page.getByText(/Reading n+: [1-9]0 %/).waitFor();
    await page.getByRole("button", { name: `Stop reading ${shown}` }).click();
    await page.getByText(/Stopped. [\d,]+ tokens of n+ are read/).waitFor();
    await page.getByRole("button", { name: `Continue reading ${shown}` }).dblclick();
    t.is(await page.locator(".task").count(), 1);
    await page.getByText(/n+ is ready/).waitFor();
    t.is(server.registry.count, 1);

    // what a browser does with a folder, and with a file that was moved
    await page.evaluate(`
        Blob.prototype.arrayBuffer = () => Promise.reject(new DOMException("It could not be found.", "NotFoundError"));
    `);
    await page.getByLabel(/Drop texts/).setInputFiles(file("gone.txt", book));
    await page
        .locator(".failed")
        .getByText(/^gone.txt cannot be opened. Drop files, not folders/)
        .waitFor();
    t.deepEqual(problems, []);
});

inBrowser("a reload ends the reading, and what was read is a partial document", async (t) => {
    const { page, server, problems } = await openPage(t, { tiny: { layers: 4 } });
    await page.getByLabel(/Drop texts/).setInputFiles(file("long.txt", book.repeat(8)));
    await page.getByText(/Reading long.txt: [1-9]0 %/).waitFor();
    await page.reload();
    await page.getByText(/partly read, [\d,]+ characters/).waitFor();
    t.is(server.engine.pool.busy, 0);
    await page.getByRole("radio", { name: "long.txt" }).check();
    t.is(await page.locator("#subject").textContent(), "About long.txt, which is partly read");
    t.deepEqual(problems, []);
});

inBrowser("UTF-16 is read, and what is not text is refused by name while the chat stays as it was", async (t) => {
    const { page, server, problems } = await openPage(t);
    const text = "The lamp — 🪔 — is in the kitchen.\n".repeat(40);
    const little = Buffer.concat([Buffer.of(0xff, 0xfe), Buffer.from(text, "utf16le")]);
    const big = Buffer.from(little).swap16();
    await page.getByLabel(/Drop texts/).setInputFiles([file("little.txt", little), file("big.txt", big)]);
    await page.getByText(/big.txt is ready/).waitFor();
    const tokens = (await server.engine.tokenize(text, { begin: true })).length;
    for (const { snapshot, characters } of server.registry.list()) {
        t.is(snapshot.tokensRead, tokens);
        t.is(characters, text.length);
    }
    const refused: [string, Buffer, RegExp][] = [
        [
            "paper.pdf",
            Buffer.from("%PDF-1.7\n…"),
            /^paper.pdf is a PDF, not a text. Save its text first, e.g. with pdf/
        ],
        ["letter.docx", Buffer.from("PK\u0003\u0004rest"), /^letter.docx is an Office document.* plain text \(.txt\)/],
        ["log.gz", Buffer.of(0x1f, 0x8b, 8), /^log.gz is compressed with gzip/],
        ["latin.txt", Buffer.from("caf\xe9, caf\xe9", "latin1"), /^latin.txt is not a text in UTF-8 or UTF-16/],
        ["nul.txt", Buffer.from("a\0b"), /^nul.txt is not a text: it has a NUL/],
        ["empty.txt", Buffer.of(), /^empty.txt is empty/]
    ];
    await page.getByLabel(/Drop texts/).setInputFiles(refused.map(([name, bytes]) => file(name, bytes)));
    for (const [name, , message] of refused) {
        const card = page.locator(".failed", { hasText: name });
        await card.waitFor();
        t.regex((await card.locator(".facts").textContent())!, message);
    }
    t.is(await page.locator("#subject").textContent(), "About big.txt");
    t.is(server.registry.count, 2);
    await screenshot(page, "refused");
    t.deepEqual(problems, []);
});

inBrowser("a drop anywhere on the page is read, and the page stays", async (t) => {
    const { page, url, problems } = await openPage(t);
    await page.getByText(/segments of 64 tokens/).waitFor();
    t.true(await dropFiles(page, "#drop", [{ name: "inside.txt", text: book }]));
    await page.getByText(/inside.txt is ready/).waitFor();
    t.true(await dropFiles(page, "header", [{ name: "outside.txt", text: book }]));
    await page.getByText(/outside.txt is ready/).waitFor();
    t.is(page.url(), `${url}/`);
    t.deepEqual(problems, []);
    const plain = await openPage(t, { tiny: "plain" });
    await plain.page.getByText(/a plain model, whose context has an end/).waitFor();
    t.true(await dropFiles(plain.page, "header", [{ name: "outside.txt", text: book }]));
    await plain.page.getByText("This model reads no documents.").waitFor();
    t.false(await plain.page.locator("#document").isVisible());
});

inBrowser(
    "the included model's page says what it can do, and its sample is answered from ready questions",
    async (t) => {
        const sample = await makeRecallSample((text) => Math.ceil(text.length / 4.1));
        const { page, server, problems } = await openPage(t, {
            tiny: { file: recallModelPath },
            modelId: recallModelId,
            description: recallDescription,
            sample,
            questionForms: await recallQuestionForms(),
            batchSize: 512
        });
        await page.getByText(/^armt-recall · segments of 128/).waitFor();
        await page.getByText(/reads a text of any length and answers short questions/).waitFor();
        await page.getByText(/knows no questions but these: Where is the …\? Where is …\? What is the code/).waitFor();
        const ask = async (text: string) => {
            await page.locator("#question").fill(text);
            await page.locator("#question").press("Enter");
            await page.getByText(/Answer done/).waitFor();
            return await page.locator("#log .assistant").last().locator(".note").allTextContents();
        };
        t.deepEqual(await ask("Where is the lamp?"), ["There is no document, so this answer is a guess."]);
        await page.getByRole("button", { name: "Try the sample document" }).click();
        const questions = page.locator("#questions button");
        await questions.first().waitFor();
        t.is(await questions.count(), sample.questions.length);
        const question = (await questions.first().textContent())!;
        await questions.first().click();
        await page.getByText(/Answer done/).waitFor();
        t.deepEqual(await page.locator("#log .user .content").allTextContents(), [question]);
        const answer = (await page.locator("#log .assistant .content").textContent())!.trim();
        t.is(answer, sample.answers[0]!);
        t.is(await page.locator("#log .note").count(), 0);
        t.deepEqual(await ask("What is this about?"), [
            "This model was not trained for such a question, so its answer means nothing."
        ]);
        await screenshot(page, "sample");
        // a second click reads nothing again
        await page.getByRole("button", { name: "New chat" }).click();
        await page.getByRole("button", { name: "Try the sample document" }).click();
        await questions.first().waitFor();
        t.is(server.registry.count, 1);
        t.deepEqual(problems, []);
    }
);
