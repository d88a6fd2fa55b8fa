"""The tables of metrics.jsonl's rows for docs/metrics.md, made from their schema."""

from __future__ import annotations

import re

from extra_utils.config.values import describe
from extra_utils.run.metrics import SCHEMA, SUMMARY_ROUNDS

KINDS = {
    "run": "the first row",
    "point": "a local model while it trains",
    "client": "a client after its local training",
    "round": "the global model after a round",
    "summary": f"the last row: means of the last {SUMMARY_ROUNDS} rounds, and the final model",
}


def row_tables() -> str:
    """Markdown: the keys of every kind of row, with type and meaning."""
    parts = []
    for kind, keys in SCHEMA.items():
        lines = [f"`{kind}`: {KINDS[kind]}.", "", "| key | type | meaning |", "|---|---|---|"]
        for key, (hint, meaning) in keys.items():
            type_ = re.sub(r" from \S+ to \S+", "", describe(hint))  # the bounds go without saying
            lines.append(f"| `{key}` | {type_} | {meaning} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"
