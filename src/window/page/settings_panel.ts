/// <reference lib="dom" />
import { html } from "htm/preact";
import type { ChatModel } from "./chat_model.ts";
import type { Settings } from "./conversation.ts";
import { Icon } from "./icons.ts";

/** What `/props` says of the model. */
export interface ModelProps {
  /** Whether its template can be told to think. */
  readonly canThink: boolean;
  /** Most tokens of a conversation. */
  readonly contextLength?: number;
  /** The settings that it recommends, by the names of a request's fields. */
  readonly defaults: Readonly<Record<string, number>>;
}

interface NumberField {
  readonly name: keyof Settings;
  readonly label: string;
  readonly hint: string;
  readonly min: number;
  readonly max?: number;
  readonly step: number;
}

const FIELDS: readonly NumberField[] = [
  {
    name: "temperature",
    label: "Temperature",
    hint: "0: always the likeliest",
    min: 0,
    max: 2,
    step: 0.1,
  },
  {
    name: "top_p",
    label: "Top p",
    hint: "share of probability drawn from",
    min: 0.01,
    max: 1,
    step: 0.01,
  },
  { name: "top_k", label: "Top k", hint: "tokens drawn from; 0: all", min: 0, step: 1 },
  {
    name: "min_p",
    label: "Min p",
    hint: "least share of the likeliest",
    min: 0,
    max: 1,
    step: 0.01,
  },
  {
    name: "repetition_penalty",
    label: "Repetition",
    hint: "1: none",
    min: 0.1,
    max: 2,
    step: 0.05,
  },
  {
    name: "presence_penalty",
    label: "Presence",
    hint: "against tokens that occurred",
    min: -2,
    max: 2,
    step: 0.1,
  },
  {
    name: "frequency_penalty",
    label: "Frequency",
    hint: "the same, by how often",
    min: -2,
    max: 2,
    step: 0.1,
  },
  { name: "max_tokens", label: "Most tokens", hint: "of one answer", min: 1, step: 1 },
  { name: "seed", label: "Seed", hint: "the same draws again", min: 0, step: 1 },
];

/** How the shown conversation is answered. */
export function SettingsPanel({ model, props, onClose }: {
  model: ChatModel;
  props: ModelProps;
  onClose: () => void;
}) {
  const { settings } = model.shown;
  const set: FieldProps["set"] = (name, value) => model.setSetting(name, value);
  return html`<aside class="settings" id="settings" aria-label="Settings of this conversation">
    <header>
      <h2>Settings</h2>
      <button class="icon-button" type="button" aria-label="Close the settings" onClick=${onClose}>
        <${Icon} name="close" />
      </button>
    </header>
    <${TextField} label="System prompt" name="system" rows=${4} settings=${settings} set=${set}
      placeholder="How the model should answer" />
    <div class="numbers">
      ${
    FIELDS.map((field) =>
      html`
        <${NumberInput} key=${field.name} field=${field} settings=${settings} set=${set}
          standard=${props.defaults[field.name]} />
      `
    )
  }
    </div>
    <${TextField} label="Stop at" name="stop" rows=${2} settings=${settings} set=${set}
      placeholder="Texts that end an answer, one a line" />
    ${props.canThink ? html`<${Thinking} settings=${settings} set=${set} />` : null}
    <${Format} settings=${settings} set=${set} />
  </aside>`;
}

interface FieldProps {
  readonly settings: Settings;
  readonly set: (name: keyof Settings, value: unknown) => void;
}

function NumberInput({ field, settings, set, standard }: FieldProps & {
  field: NumberField;
  standard: number | undefined;
}) {
  const { name, label, hint, min, max, step } = field;
  const onInput = (event: Event) => {
    const input = event.target as HTMLInputElement;
    if (input.value === "") return set(name, undefined);
    if (input.validity.valid || input.validity.stepMismatch) set(name, input.valueAsNumber);
  };
  return html`
    <label class="number" title=${hint}>
      <span>${label}</span>
      <input
        type="number"
        min=${min}
        max=${max}
        step=${step}
        placeholder=${standard === undefined ? "–" : String(standard)}
        value=${settings[name] ?? ""}
        onInput=${onInput}
      />
      <small>${hint}</small>
    </label>
  `;
}

function TextField({ label, name, rows, placeholder, settings, set }: FieldProps & {
  label: string;
  name: keyof Settings;
  rows: number;
  placeholder: string;
}) {
  return html`
    <label class="field">
      <span>${label}</span>
      <textarea
        rows=${rows}
        placeholder=${placeholder}
        value=${settings[name] ?? ""}
        onInput=${(event: Event) => {
          const { value } = event.target as HTMLTextAreaElement;
          set(name, value === "" ? undefined : value);
        }}
      ></textarea>
    </label>
  `;
}

function Thinking({ settings, set }: FieldProps) {
  const onChange = (event: Event) => {
    const { value } = event.target as HTMLSelectElement;
    set("thinking", value === "" ? undefined : value === "yes");
  };
  const { thinking } = settings;
  return html`
    <label class="field">
      <span>Thinking</span>
      <select value=${thinking === undefined ? "" : thinking ? "yes" : "no"} onChange=${onChange}>
        <option value="">As the model has it</option>
        <option value="yes">Think first</option>
        <option value="no">Answer at once</option>
      </select>
    </label>
  `;
}

function Format({ settings, set }: FieldProps) {
  const { format = "", schema = "" } = settings;
  const problem = format === "schema" ? problemOf(schema) : undefined;
  return html`
    <label class="field">
      <span>Answers are</span>
      <select
        value=${format}
        onChange=${(event: Event) => {
          const { value } = event.target as HTMLSelectElement;
          set("format", value === "" ? undefined : value);
        }}
      >
        <option value="">Text</option>
        <option value="json">Any JSON object</option>
        <option value="schema">JSON of a schema</option>
      </select>
    </label>
        ${format === "schema"
          ? html`
            <${TextField} label="JSON schema" name="schema" rows=${8} settings=${settings} set=${set}
              placeholder='{"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}' />
            <p class="problem" role="status">${problem}</p>
          `
          : null}
  `;
}

function problemOf(schema: string): string | undefined {
  try {
    const value = JSON.parse(schema);
    return typeof value === "object" && value !== null ? undefined : "A schema is an object";
  } catch (error) {
    return schema === "" ? "A schema is needed" : (error as Error).message;
  }
}
