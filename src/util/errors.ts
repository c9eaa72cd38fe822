/**
 * An error whose one-line message says what went wrong, where, and what to do. The command line prints only `message`
 * and exits with 1.
 */
export class ArmtError extends Error {
    override name = "ArmtError";
}

/** Maximum length of foreign text (a tensor's or key's name) in a message. Longer text is cut. Unit: characters. */
const MAX_QUOTED_LENGTH = 120;

/**
 * Makes foreign text safe for a one-line message: quotes it, escapes control characters, and cuts it if it is too long.
 */
export function quote(text: string): string {
    const cut = text.length > MAX_QUOTED_LENGTH ? `${text.slice(0, MAX_QUOTED_LENGTH)}…` : text;
    return escapeControls(JSON.stringify(cut));
}

/** Makes foreign text safe to show in a line: it neither steers the terminal nor begins a new line. */
export function escapeControls(text: string): string {
    return text.replaceAll(/[\p{Cc}\u2028\u2029]/gu, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Messages for the system errors that users meet. Others keep Node's own message. */
const systemErrorTexts: Record<string, string> = {
    ENOENT: "no such file or folder",
    EACCES: "permission denied",
    EPERM: "operation not permitted",
    EISDIR: "it is a folder",
    ENOTDIR: "a part of the path is not a folder",
    ENOSPC: "no space left on the device",
    EDQUOT: "the disk quota is used up",
    EFBIG: "the file would be too large for the file system or for `ulimit -f`",
    EROFS: "the file system is read-only",
    EMFILE: "too many open files",
    EADDRINUSE: "another program uses this port; choose another one, or 0 for any free one",
    EADDRNOTAVAIL: "this machine has no such address",
    ENOTFOUND: "no such host name",
    EIO: "input or output error"
};

/** The reason for a failed system call, in plain words. */
export function systemErrorText(error: unknown): string {
    if (!(error instanceof Error)) return String(error);
    const code = "code" in error && typeof error.code === "string" ? error.code : undefined;
    const text = code === undefined ? undefined : systemErrorTexts[code];
    return text ?? error.message.split("\n", 1)[0]!;
}
