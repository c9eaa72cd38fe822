import { ArmtError } from "../../util/errors.js";

/** A chat that the model's template cannot render. */
export class ChatRefusedError extends ArmtError {
    override name = "ChatRefusedError";

    constructor(
        message: string,
        /** `invalid_value` if a message's text is the reason; undefined if the template refuses the chat itself. */
        readonly code?: "invalid_value"
    ) {
        super(message);
    }
}
