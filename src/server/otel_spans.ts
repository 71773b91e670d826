import {
  type Context,
  context,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { VERSION } from "../core/version.ts";
import type { EndedSpan, SpanAttributes, Spans } from "../http/traces/spans.ts";

/** Where Deno registers its tracer for `@opentelemetry/api`, if `OTEL_DENO` is set. */
const REGISTRY = Symbol.for("opentelemetry.js.api.1");

/** How Deno 2.9 names, on a response of `node:http`, the span of its request. */
const SPAN_SYMBOL = "kOtelSpan";

/** Hands spans to Deno's own exporter; undefined where `OTEL_DENO` has not turned it on. */
export function openSpans(): Spans | undefined {
  if (!isTracing()) return undefined;
  return {
    here() {
      const parent = context.active();
      return (span) => record(span, parent);
    },
  };
}

/**
 * Handles a request of `node:http` within the span that Deno has made for it, below that of a
 * `traceparent` header. Deno's own server does so by itself, and its `node:http` does not.
 */
export function withinSpanOf<T>(outgoing: object, handle: () => T): T {
  if (!isTracing()) return handle();
  const symbol = Object.getOwnPropertySymbols(outgoing)
    .find(({ description }) => description === SPAN_SYMBOL);
  const span = symbol === undefined ? undefined : Reflect.get(outgoing, symbol) as Span | undefined;
  if (span === undefined) return handle();
  return context.with(trace.setSpan(context.active(), span), handle);
}

function isTracing(): boolean {
  const registered = Reflect.get(globalThis, REGISTRY) as { readonly trace?: unknown } | undefined;
  return registered?.trace !== undefined;
}

function record(span: EndedSpan, parent: Context): void {
  const { name, startMs, endMs, attributes, events = [], children = [], error } = span;
  const recorded = trace.getTracer("quire", VERSION).startSpan(name, {
    kind: SpanKind.INTERNAL,
    startTime: startMs,
    attributes: valuesOf(attributes),
  }, parent);
  for (const event of events) {
    recorded.addEvent(event.name, valuesOf(event.attributes), event.timeMs);
  }
  for (const child of children) record(child, trace.setSpan(parent, recorded));
  if (error !== undefined) recorded.setStatus({ code: SpanStatusCode.ERROR, message: error });
  recorded.end(endMs);
}

function valuesOf(
  attributes: SpanAttributes,
): Record<string, string | number | boolean | string[]> {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [
      name,
      typeof value === "object" ? [...value] : value,
    ]),
  );
}
