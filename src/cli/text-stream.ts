/** The command line decodes text as the server does. */
export { TextStream } from "../generation/TextStream.js";
