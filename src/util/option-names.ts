/** The message of an error about options of the library, with the names that the command line has for them. */
export function inCommandLineNames(message: string): string {
    return message.replaceAll(/`(?:armt\.)?([a-z]\w*)(?:: "(\w+)")?`/g, (_, name: string, value?: string) => {
        return `--${dashed(name)}${value === undefined ? "" : ` ${value}`}`;
    });
}

/** A name of the library's options, such as `maxCells`, as the command line writes it. */
export function dashed(name: string): string {
    return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
