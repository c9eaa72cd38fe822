export * from "node-llama-cpp";
