/** The titles under which `--help` lists options. What most people need comes first. */
export const groups = {
    /** yargs lists arguments without a dash here. */
    positional: "Positionals:",
    /** A command's own options. yargs lists every option here that names no group. */
    own: "Options:",
    sampling: "Sampling:",
    asking: "To store in the model file:",
    segments: "Segments and memory, for experts:",
    computing: "Computing:",
    variant: "Variant of the model, for checkpoints whose files do not say it:",
    general: "General:"
} as const;
