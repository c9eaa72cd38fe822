/** The decoder of the commands that write is that of the server. */
export { TextStream } from "../generation/TextStream.js";
