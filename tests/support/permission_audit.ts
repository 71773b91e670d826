/** What a process has touched, as Deno writes it where `DENO_AUDIT_PERMISSIONS` names a file. */

/** One thing that was touched: `read` and a path, `net` and a host with its port. */
export interface Touch {
  readonly permission: string;
  readonly value: string;
}

/** Everything in an audit's file, each once: paths and hosts, also where it has a URL. */
export async function readAudit(file: string): Promise<Touch[]> {
  const found = new Map<string, Touch>();
  for (const line of (await Deno.readTextFile(file)).split("\n").filter(Boolean)) {
    const { permission, value: text } = JSON.parse(line) as { permission: string; value: unknown };
    const value = plain(String(text ?? ""));
    found.set(`${permission} ${value}`, { permission, value });
  }
  return [...found.values()];
}

function plain(value: string): string {
  if (value.startsWith("file:")) return decodeURIComponent(new URL(value).pathname);
  return /^https?:/.test(value) ? new URL(value).host : value;
}

/** What Deno's flags do not grant; relative paths are those of the folder `cwd`. */
export function notGranted(
  touched: readonly Touch[],
  flags: readonly string[],
  cwd: string,
): Touch[] {
  const granted = flags.flatMap((flag) => {
    const [, permission, list] = /^--allow-(\w+)(?:=(.*))?$/.exec(flag) ?? [];
    if (permission === undefined) return [];
    return list?.split(",").map((item) => ({ permission, item })) ?? [{ permission, item: "*" }];
  });
  return touched.filter(({ permission, value }) =>
    !granted.some((grant) =>
      grant.permission === permission && covers(permission, grant.item, { value, cwd })
    )
  );
}

function covers(
  permission: string,
  item: string,
  { value, cwd }: { readonly value: string; readonly cwd: string },
): boolean {
  if (item === "*") return true;
  switch (permission) {
    case "read":
    case "write": {
      const folder = (item === "." ? cwd : item).replace(/\/$/, "");
      return value === folder || value.startsWith(`${folder}/`);
    }
    // A host covers its ports.
    case "net":
      return value === item || value.replace(/:\d+$/, "") === item;
    default:
      return value === item || (item.endsWith("*") && value.startsWith(item.slice(0, -1)));
  }
}
