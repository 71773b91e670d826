/** Version of this program. */
export const VERSION = "0.1.0";

/** Deno's major version that this program is tested on; its WebGPU differs between majors. */
export const TESTED_DENO_MAJOR = 2;
