/** A failure of the build that the user can act on. Its message is one line and is printed without a stack. */
export class BuildError extends Error {
    name = "BuildError";

    /**
     * @param {string} message
     * @param {string} [command] what to run in a shell to solve it, if one command does
     */
    constructor(message, command) {
        super(message);
        this.command = command;
    }
}
