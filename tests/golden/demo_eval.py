"""Held-out cases of the bundled model, made by the generators of models/demo/train.py.

    python3 demo_eval.py > demo_eval.json   (no packages)
"""
import json
import os
import random
import sys

DEMO = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "models", "demo")
sys.path.insert(0, DEMO)
sys.dont_write_bytecode = True
import train  # noqa: E402

NUM_CASES = 100
NUM_STORIES = 8

tokenizer = train.Tokenizer(os.path.join(DEMO, "tokenizer.json"))


def cases(seed, make):
    r = random.Random(99_000_000 + seed)
    return [dict(messages=messages, answer=answer) for messages, answer in (make(r) for _ in range(NUM_CASES))]


tasks = {f"recall_{d}": cases(d, lambda r, d=d: train.recall_case(r, tokenizer, d)) for d in (100, 400, 800)}
tasks["table_12"] = cases(1, lambda r: train.table_case(r, tokenizer, 12))
tasks["table_40"] = cases(2, lambda r: train.table_case(r, tokenizer, 40))
r = random.Random(98_000_000)
json.dump({
    "description": "Held-out cases of the demo model: chat messages and the exact expected answer (before the stop token), "
    "and stories for perplexity (append <|endoftext|>).",
    "tasks": tasks,
    "stories": [train.story(r)[0] for _ in range(NUM_STORIES)],
}, sys.stdout, ensure_ascii=False, separators=(",", ":"))
