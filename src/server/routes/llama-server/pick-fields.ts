/**
 * Some fields of an answer, as llama-server's `response_fields` names them: `a/b` is the field `b` within `a`, and the
 * result has it as `b`. Fields that are missing are left out.
 */
export function pickFields(answer: object, names: readonly string[]): Record<string, unknown> {
    const picked: [string, unknown][] = [];
    for (const name of names) {
        const path = name.split("/");
        let value: unknown = answer;
        for (const key of path)
            value =
                typeof value === "object" && value !== null && Object.hasOwn(value, key)
                    ? (value as Record<string, unknown>)[key]
                    : undefined;
        if (value !== undefined) picked.push([path.at(-1)!, value]);
    }
    return Object.fromEntries(picked);
}
