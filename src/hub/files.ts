// Files of the cache: what may be missing is no error, and what is written is whole.

/** Paths of the files below a folder, relative to it, sorted; links count as files. */
export function filesBelow(folder: string, prefix = ""): string[] {
  const entries = entriesOf(folder).sort((a, b) => a.name < b.name ? -1 : 1);
  return entries.flatMap(({ name, isDirectory }) =>
    isDirectory ? filesBelow(`${folder}/${name}`, `${prefix}${name}/`) : [`${prefix}${name}`]
  );
}

/** Writes a small file whole or not at all, and makes its folders. */
export function writeWhole(path: string, text: string): void {
  Deno.mkdirSync(parentOf(path), { recursive: true });
  makeWhole(path, (temporary) => Deno.writeTextFileSync(temporary, text));
}

/** Has a file made beside `path`, which gets that name when it is whole. */
export function makeWhole(path: string, make: (temporary: string) => void): void {
  const temporary = `${path}.${crypto.randomUUID().slice(0, 8)}.tmp`;
  try {
    make(temporary);
    Deno.renameSync(temporary, path);
  } catch (error) {
    removeIfThere(temporary);
    throw error;
  }
}

/** Removes a file, or an empty folder. */
export function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** The folder that a path lies in. */
export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

/** What is at a path, links followed; undefined where there is nothing. */
export function statIfThere(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw error;
  }
}

/** The text of a small file; undefined where there is none. */
export function readTextIfThere(path: string): string | undefined {
  return statIfThere(path)?.isFile === true ? Deno.readTextFileSync(path) : undefined;
}

/** Names of the folders in a folder; none where there is none. */
export function foldersIn(folder: string): string[] {
  return entriesOf(folder).filter(({ isDirectory }) => isDirectory).map(({ name }) => name);
}

function entriesOf(folder: string): Deno.DirEntry[] {
  return statIfThere(folder)?.isDirectory === true ? [...Deno.readDirSync(folder)] : [];
}
