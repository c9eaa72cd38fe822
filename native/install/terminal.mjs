import fs from "node:fs";

/**
 * Opens a way to tell the user of `npm install` what takes so long. npm hides the output of install scripts of
 * dependencies until one fails, so lines go to the terminal itself. Other package managers show the output.
 * @param {NodeJS.ProcessEnv} env
 * @param {string} [terminal] path of the process's terminal; for tests, another file
 * @returns {(line: string) => void} writes a line, or does nothing where nobody would miss it
 */
export function openTerminal(env, terminal = "/dev/tty") {
    const isHidden =
        env.npm_lifecycle_event === "install" &&
        env.npm_config_user_agent?.startsWith("npm/") === true &&
        env.npm_config_foreground_scripts !== "true" &&
        env.npm_config_loglevel !== "silent";
    if (!isHidden) return () => {};
    /** @type {number} */
    let file;
    try {
        file = fs.openSync(terminal, fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_NOCTTY);
    } catch {
        // a container, a job without a terminal, or Windows
        return () => {};
    }
    return (line) => {
        try {
            // npm's own progress stands on the line
            fs.writeSync(file, `\r\u001b[K${line}\n`);
        } catch {
            // the terminal is gone, and the build continues
        }
    };
}
