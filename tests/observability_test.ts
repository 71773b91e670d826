import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { parse } from "yaml";
import { z } from "zod";
import { SERVE_FLAGS } from "../src/core/config.ts";
import { ServingMetrics } from "../src/http/metrics/serving_metrics.ts";
import { FakeEngine } from "./http/fake_engine.ts";

const FOLDER = new URL("../docs/observability/", import.meta.url);

function read(name: string): string {
  return Deno.readTextFileSync(new URL(name, FOLDER));
}

const Place = z.object({
  x: z.int().min(0).max(23),
  y: z.int().min(0),
  w: z.int().min(1).max(24),
  h: z.int().min(1),
});

const Panel = z.object({
  id: z.int(),
  type: z.enum(["row", "timeseries", "stat", "heatmap"]),
  title: z.string().min(1),
  gridPos: Place,
  targets: z.array(z.object({ refId: z.string(), expr: z.string().min(1) })).optional(),
});

const Dashboard = z.object({
  title: z.literal("Quire"),
  schemaVersion: z.int(),
  templating: z.object({ list: z.array(z.object({ name: z.string(), type: z.string() })) }),
  panels: z.array(Panel),
});

const Compose = z.object({
  services: z.record(
    z.string(),
    z.object({
      image: z.string().min(1),
      environment: z.record(z.string(), z.string()).optional(),
      volumes: z.array(z.string()).optional(),
      ports: z.array(z.string()).optional(),
      depends_on: z.array(z.string()).optional(),
      profiles: z.array(z.string()).optional(),
      stop_grace_period: z.string().optional(),
    }).strict(),
  ),
  volumes: z.record(z.string(), z.null()),
}).strict();

/** Every series of an exposition by name, and the labels that it has. */
async function exposedSeries(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const metrics = new ServingMetrics(new FakeEngine(), "m");
  metrics.observeKeyRefusal("key-1", "requests");
  const series = new Map<string, Set<string>>();
  for (const [, name, labels] of (await metrics.text()).matchAll(/^([\w:]+)\{(.*)\} \S+$/gm)) {
    const known = series.get(name!) ?? new Set();
    for (const [, label] of labels!.matchAll(/(\w+)="/g)) known.add(label!);
    series.set(name!, known);
  }
  return series;
}

Deno.test("every metric and label that the dashboard asks for is exposed", async () => {
  const { panels, templating } = Dashboard.parse(JSON.parse(read("dashboard.json")));
  const series = await exposedSeries();
  const exprs = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  assert(exprs.length > 40, `${exprs.length} queries`);
  for (const expr of exprs) {
    const names = expr.match(/(?:vllm|quire):\w+/g) ?? [];
    assert(names.length > 0, expr);
    for (const name of names) {
      assert(series.has(name), `${name} is not exposed: ${expr}`);
      const by = [...expr.matchAll(/by \((\w+)\)/g)].map(([, label]) => label!);
      const asked = [...by, ...[...expr.matchAll(/(\w+)="/g)].map(([, label]) => label!)];
      for (const label of asked) assert(series.get(name)!.has(label), `${name} has no ${label}`);
    }
    assertStringIncludes(expr, 'model_name="$model_name"');
  }
  assertEquals(templating.list.map(({ name }) => name), ["datasource", "model_name"]);
});

Deno.test("the panels of the dashboard lie side by side, and none has another's number", () => {
  const { panels } = Dashboard.parse(JSON.parse(read("dashboard.json")));
  assertEquals(new Set(panels.map(({ id }) => id)).size, panels.length);
  const taken = new Set<string>();
  for (const { title, gridPos: { x, y, w, h } } of panels) {
    assert(x + w <= 24, title);
    for (let i = x; i < x + w; i++) {
      for (let j = y; j < y + h; j++) {
        assert(!taken.has(`${i} ${j}`), `${title} lies on another panel`);
        taken.add(`${i} ${j}`);
      }
    }
  }
});

Deno.test("the compose example mounts files that are there, and sets flags that exist", () => {
  const { services, volumes } = Compose.parse(parse(read("compose.yaml")));
  assertEquals(Object.keys(services), ["quire", "prometheus", "grafana", "collector"]);
  const mounted = Object.values(services).flatMap(({ volumes = [] }) => volumes);
  for (const mount of mounted) {
    const [source] = mount.split(":");
    if (!source!.startsWith("./")) assert(source! in volumes, mount);
    else assert(Deno.statSync(new URL(source!, FOLDER)).isFile, mount);
  }
  const flags = new Set(SERVE_FLAGS.map(({ environment }) => environment));
  const set = Object.keys(services.quire!.environment!).filter((name) => name.startsWith("QUIRE_"));
  assertEquals(set.filter((name) => !flags.has(name)), []);
  for (const { ports = [] } of Object.values(services)) {
    for (const port of ports) assert(port.startsWith("127.0.0.1:"), port);
  }
  const used = Object.values(services).flatMap(({ depends_on = [] }) => depends_on);
  assertEquals(used.filter((name) => !(name in services)), []);
});

Deno.test("Prometheus, Grafana and the collector are asked where the compose example has them", () => {
  const { services } = Compose.parse(parse(read("compose.yaml")));
  const prometheus = z.object({
    global: z.object({ scrape_interval: z.string() }),
    scrape_configs: z.array(z.object({
      job_name: z.string(),
      metrics_path: z.literal("/metrics"),
      static_configs: z.array(z.object({ targets: z.array(z.string()) })),
    })),
  }).parse(parse(read("prometheus.yaml")));
  assertEquals(prometheus.scrape_configs[0]!.static_configs[0]!.targets, ["quire:8000"]);
  assert(services.quire!.ports!.some((port) => port.endsWith(":8000")));
  const { datasources: [source] } = z.object({
    datasources: z.array(z.object({ type: z.literal("prometheus"), url: z.url() })),
  }).parse(parse(read("grafana-datasources.yaml")));
  const { hostname, port } = new URL(source!.url);
  assert(services[hostname]!.ports!.some((each) => each.endsWith(`:${port}`)));
  const { providers: [provider] } = z.object({
    providers: z.array(z.object({ options: z.object({ path: z.string() }) })),
  }).parse(parse(read("grafana-dashboards.yaml")));
  const { path } = provider!.options;
  assert(services.grafana!.volumes!.includes(`./dashboard.json:${path}/quire.json:ro`));
  const collector = z.object({
    receivers: z.object({
      otlp: z.object({ protocols: z.object({ http: z.object({ endpoint: z.string() }) }) }),
    }),
    exporters: z.object({ debug: z.object({ verbosity: z.string() }) }),
    service: z.object({
      pipelines: z.object({
        traces: z.object({
          receivers: z.tuple([z.literal("otlp")]),
          exporters: z.tuple([z.literal("debug")]),
        }),
      }),
    }),
  }).parse(parse(read("collector.yaml")));
  const endpoint = new URL(services.quire!.environment!.OTEL_EXPORTER_OTLP_ENDPOINT!);
  assert(endpoint.hostname in services);
  assert(collector.receivers.otlp.protocols.http.endpoint.endsWith(`:${endpoint.port}`));
});
