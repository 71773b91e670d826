/** Names of the browser in which the window is opened. */
export const BROWSERS = ["chromium", "chromium-browser", "google-chrome"];

/** The browser of this machine; undefined where it has none. */
export function findBrowser(): string | undefined {
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  const places = BROWSERS.flatMap((name) => folders.map((folder) => `${folder}/${name}`));
  return places.find((place) => {
    try {
      return Deno.statSync(place).isFile;
    } catch {
      return false;
    }
  });
}
