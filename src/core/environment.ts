/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The variables of this process, each read when it is asked for; one that Deno's permissions do not
 * let it read counts as absent, and nobody is asked for the permission.
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
