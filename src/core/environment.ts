/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The variables of this process, each read on access. A variable that Deno's permissions withhold
 * counts as absent; no permission is requested.
 */
export function processEnvironment(): Environment {
  return new Proxy<Environment>({}, {
    get: (_, variable) => {
      if (typeof variable !== "string") return undefined;
      const { state } = Deno.permissions.querySync({ name: "env", variable });
      return state === "granted" ? Deno.env.get(variable) : undefined;
    },
  });
}

/** Sets a variable that is absent, where Deno's permissions allow that; nobody is asked. */
export function setIfAbsent(variable: string, value: string): void {
  const { state } = Deno.permissions.querySync({ name: "env", variable });
  if (state === "granted" && !Deno.env.has(variable)) Deno.env.set(variable, value);
}
