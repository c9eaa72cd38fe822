/** The message of an error about options of the library, with the names that the command line has for them. */
export function inCommandLineNames(message: string): string {
    return message.replaceAll(/`(?:armt\.)?([a-z]\w*)(?:: "(\w+)")?`/g, (_, name: string, value?: string) => {
        const option = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
        return `--${option}${value === undefined ? "" : ` ${value}`}`;
    });
}
