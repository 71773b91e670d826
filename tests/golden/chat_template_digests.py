"""Renders chat templates with Jinja2 as Hugging Face transformers sets it up, and writes the SHA-256
of each result, so that our renderer can be checked without copying the templates or their texts.

    python3 chat_template_digests.py TEMPLATE_DIRECTORY > chat_template_digests.json   (Jinja2 3.1.6)
"""
import datetime
import glob
import hashlib
import json
import os
import sys

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2025, 7, 26, 14, 5, 9)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def turns(*contents, system=None):
    roles = ["user", "assistant"]
    chat = [{"role": roles[i % 2], "content": content} for i, content in enumerate(contents)]
    return ([{"role": "system", "content": system}] if system else []) + chat


CONVERSATIONS = {
    "one turn": turns('Hello <b>&</b> "you"!'),
    "system": turns("Hi", system="Be brief."),
    "three turns": turns("Hi", "  Hello, how can I help?  ", "Tell me\n\na joke \U0001f999"),
    "system and turns": turns("a", "b", "c", "<think>x</think>\n\nd", "e", system="You are kind."),
}

TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "The weather <now> & \"here\", in \u00b0C.",
        "parameters": {
            "type": "object", "required": ["city"],
            "properties": {
                "city": {"type": "string", "description": "A city"}, "days": {"type": "integer", "minimum": 1, "default": 1},
                "units": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
        },
    }},
    {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}},
]


def call(name, arguments, id="abcdef123"):
    return {"role": "assistant", "content": "", "tool_calls": [
        {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}},
    ]}


RESULT = {"role": "tool", "content": '{"celsius": 21.5}', "tool_call_id": "abcdef123", "name": "get_weather"}
CALLED = [call("get_weather", {"city": "K\u00f6ln", "days": 2}), RESULT]

# With TOOLS on offer.
TOOL_CONVERSATIONS = {
    "tools on offer": turns("Is it warm in K\u00f6ln?"),
    "tools and a system": turns("Is it warm?", system="Be brief."),
    "a call": turns("Is it warm in K\u00f6ln?") + CALLED,
    "a call and an answer": turns("Is it warm in K\u00f6ln?", system="Be kind.") + CALLED + [{"role": "assistant", "content": "Yes."}] + turns("Really?"),
}

environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = lambda format: NOW.strftime(format)


def render(template, messages, add_generation_prompt, tools):
    try:
        text = template.render(
            messages=messages, tools=tools, documents=None, bos_token="<s>", eos_token="</s>",
            add_generation_prompt=add_generation_prompt)
        return hashlib.sha256(text.encode()).hexdigest()
    except jinja2.exceptions.TemplateError as error:
        return f"raised: {error}"
    except TypeError:
        return "failed"


renders = []
for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.jinja"))):
    with open(path, encoding="utf-8") as file:
        template = environment.from_string(file.read())
    for name, messages in (CONVERSATIONS | TOOL_CONVERSATIONS).items():
        for add_generation_prompt in (True, False):
            renders.append({
                "template": os.path.basename(path),
                "conversation": name,
                "addGenerationPrompt": add_generation_prompt,
                "result": render(template, messages, add_generation_prompt, TOOLS if name in TOOL_CONVERSATIONS else None),
            })
json.dump({"conversations": CONVERSATIONS, "tools": TOOLS, "toolConversations": TOOL_CONVERSATIONS, "renders": renders}, sys.stdout, indent=1)
print()
