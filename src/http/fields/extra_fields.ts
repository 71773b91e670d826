import { LOGIT_FIELDS } from "./logit_fields.ts";
import { SAMPLING_FIELDS, type SamplingFields } from "./sampling_fields.ts";

const { top_k, min_p, seed, stop_token_ids, ignore_eos } = SAMPLING_FIELDS;
const { explain, cache_retention, cache_salt, priority, timeout } = SAMPLING_FIELDS;

/**
 * This server's own fields that every API for chats takes beside its own, with the meaning that
 * they have in `/v1/chat/completions`.
 */
export const EXTRA_FIELDS = {
  top_k,
  min_p,
  seed,
  stop_token_ids,
  ignore_eos,
  explain,
  cache_retention,
  cache_salt,
  priority,
  timeout,
  ...LOGIT_FIELDS,
};

/** The values of {@link EXTRA_FIELDS} in a request. */
export function extrasOf(request: object): SamplingFields {
  return Object.fromEntries(
    Object.entries(request).filter(([name]) => Object.hasOwn(EXTRA_FIELDS, name)),
  );
}
