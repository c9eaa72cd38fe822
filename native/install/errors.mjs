/** A failure of the build that the user can act on. Its message is one line and is printed without a stack. */
export class BuildError extends Error {
    name = "BuildError";
}
