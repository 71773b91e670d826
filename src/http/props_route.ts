import { STATUS_CODE } from "@std/http";
import type { Handler } from "hono";
import { RequestError } from "../core/errors.ts";
import { requireReady } from "./served_model.ts";
import type { Services } from "./services.ts";

/**
 * `GET /props`: llama.cpp's description of a server, as far as it is true here. Clients size their
 * context by `n_ctx`, which is that of one sequence.
 */
export function propsRoute({ engine, model, text, version }: Services): Handler {
  return (c) => {
    const { maxModelLen, maxNumSeqs } = requireReady(engine);
    const { temperature = 1, topP = 1, topK = 0, minP = 0, repetitionPenalty = 1 } = model.defaults;
    return c.json({
      default_generation_settings: {
        n_ctx: maxModelLen,
        params: {
          temperature,
          top_p: topP,
          top_k: topK,
          min_p: minP,
          repeat_penalty: repetitionPenalty,
        },
      },
      total_slots: maxNumSeqs,
      model_alias: model.names[0],
      ...(model.chatTemplate === undefined ? {} : { chat_template: model.chatTemplate }),
      eos_token: eosTextOf(text),
      modalities: { vision: false, audio: false },
      build_info: `quire-${version}`,
      is_sleeping: false,
    });
  };
}

function eosTextOf(text: Services["text"]): string | null {
  const [first] = text.eosTokenIds;
  return first === undefined ? null : text.tokenText(first);
}

/**
 * `GET /slots`: as many slots as sequences run at once. Sequences have no slots of their own here,
 * so the first ones count as taken, and none says whose it is. `?fail_on_no_slot=1` is 503 while
 * all are.
 */
export function slotsRoute({ engine }: Services): Handler {
  return (c) => {
    const { maxModelLen, maxNumSeqs } = requireReady(engine);
    const { numRunning } = engine.stats;
    if (c.req.query("fail_on_no_slot") === "1" && numRunning >= maxNumSeqs) {
      throw new RequestError(`All ${maxNumSeqs} sequences of a step run: no slot is free`, {
        status: STATUS_CODE.ServiceUnavailable,
        type: "server_error",
        code: "no_slot_available",
      });
    }
    const ids = Array.from({ length: maxNumSeqs }, (_, id) => id);
    return c.json(ids.map((id) => ({
      id,
      n_ctx: maxModelLen,
      speculative: false,
      is_processing: id < numRunning,
    })));
  };
}
