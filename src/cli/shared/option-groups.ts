/** The titles under which `--help` lists options. What most people need comes first. */
export const groups = {
    /** yargs lists arguments without a dash here. */
    positional: "Positionals:",
    /** A command's own options. yargs lists every option here that names no group. */
    own: "Options:",
    sampling: "Sampling:",
    segments: "Segments and memory, for experts:",
    computing: "Computing:",
    general: "General:"
} as const;
