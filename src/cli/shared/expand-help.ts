/** Makes `--help` of a leading `help`: `armt help eval recall` is `armt eval recall --help`. */
export function expandHelp(args: readonly string[]): string[] {
    const first = args.findIndex((arg) => !arg.startsWith("-"));
    return args[first] === "help" ? [...args.slice(0, first), ...args.slice(first + 1), "--help"] : [...args];
}
