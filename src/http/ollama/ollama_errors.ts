import type { ErrorData } from "../../core/errors.ts";

/** An error as Ollama's clients expect it. */
export function ollamaErrorBody({ message }: ErrorData): { readonly error: string } {
  return { error: message };
}
