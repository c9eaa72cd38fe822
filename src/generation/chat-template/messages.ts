/** A checked message, in the common form of all endpoints. */
export type Message =
    | { readonly role: "system" | "user"; readonly text: string; readonly name?: string }
    | {
          readonly role: "assistant";
          readonly text: string;
          readonly calls: readonly ToolCall[];
          readonly name?: string;
          /** The model's reasoning before the answer. */
          readonly reasoning?: string;
      }
    | { readonly role: "tool"; readonly callId: string; readonly text: string; readonly name?: string };

export interface ToolCall {
    readonly id: string;
    readonly name: string;
    /** JSON. */
    readonly arguments: string;
}

/** A function that the model may call. */
export interface Tool {
    readonly name: string;
    readonly description?: string;
    /** JSON schema of the arguments. */
    readonly parameters?: unknown;
}

/** A message in the form of chat templates. */
export interface TemplateMessage {
    role: "system" | "user" | "assistant" | "tool";
    content: string;
    name?: string;
    reasoning_content?: string;
    tool_calls?: { id: string; type: "function"; function: { name: string; arguments: unknown } }[];
    tool_call_id?: string;
}
