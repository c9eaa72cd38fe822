/** The JSON of server-sent events, up to `[DONE]`. */
export async function* readEvents(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        held += value;
        const parts = held.split("\n\n");
        held = parts.pop();
        for (const part of parts) {
            const data = part
                .split("\n")
                .filter((line) => line.startsWith("data: "))
                .map((line) => line.slice(6))
                .join("\n");
            if (data === "[DONE]") return;
            if (data !== "") yield JSON.parse(data);
        }
    }
}
