/** Chat templates of real models, where they are there. */
const FOLDER = new URL("../../../shared/data/chat-templates/", import.meta.url);

/** Whether the template of a model is there; a skip is printed. */
export function hasSharedData(name: string): boolean {
  try {
    return Deno.statSync(new URL(`${name}.jinja`, FOLDER)).isFile;
  } catch {
    // deno-lint-ignore no-console -- a skip must say why
    console.warn(`skipped: ../shared/data/chat-templates/${name}.jinja is absent`);
    return false;
  }
}

/** The text of a template. */
export function readSharedData(name: string): string {
  return Deno.readTextFileSync(new URL(`${name}.jinja`, FOLDER));
}
