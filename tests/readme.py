"""The parts of the documentation that are made from the sources.

python -m tests.readme    # rewrites the tables in docs/keys.md and docs/metrics.md
"""

from __future__ import annotations

import re

from extra_utils.config.help import Row, parameter_rows, rows_of, summary
from extra_utils.config.keys import AttackConfig, DefenseConfig, GivenConfig
from extra_utils.config.values import describe
from extra_utils.run.metrics import SCHEMA, SUMMARY_ROUNDS
from federal_defense.rules.table import TABLES
from tests.helpers import ROOT

README, DOCS = ROOT / "README.md", ROOT / "docs"
KEYS, SPEED = "keys: python -m tests.readme", "speed: python -m tests.benchmarks.report"
ROWS = "rows: python -m tests.readme"
PAGES = {KEYS: DOCS / "keys.md", SPEED: DOCS / "speed.md", ROWS: DOCS / "metrics.md"}
KINDS = {
    "run": "the first row",
    "point": "a local model while it trains",
    "client": "a client after its local training",
    "round": "the global model after a round",
    "summary": f"the last row: means of the last {SUMMARY_ROUNDS} rounds, and the final model",
}


def key_tables() -> str:
    """Markdown: the keys of a config, of every attack, and of each name in a table."""
    parts = [markdown(rows_of(GivenConfig)), "Keys of every `attack`:"]
    parts.append(markdown(rows_of(AttackConfig)))
    parts += ["Keys of every `defense`:", markdown(rows_of(DefenseConfig))]
    for title, table in TABLES.items():
        for name, function in table.items():
            parts.append(f"`{title}` `{name}`: {summary(function)}.")
            if rows := parameter_rows(function):
                parts.append(markdown(rows))
    return "\n\n".join(parts) + "\n"


def markdown(rows: list[Row]) -> str:
    """The rows as the page's table."""
    lines = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, kind, default, text in rows:
        lines.append(f"| `{name}` | {kind} | `{default}` | {text} |".replace("||", "\\|\\|"))
    return "\n".join(lines)


def row_tables() -> str:
    """Markdown: the keys of every kind of row in metrics.jsonl, with type and meaning."""
    parts = []
    for kind, keys in SCHEMA.items():
        lines = [f"`{kind}`: {KINDS[kind]}.", "", "| key | type | meaning |", "|---|---|---|"]
        for key, (hint, meaning) in keys.items():
            type_ = re.sub(r" from \S+ to \S+", "", describe(hint))  # the bounds go without saying
            lines.append(f"| `{key}` | {type_} | {meaning} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def part_of(text: str, mark: str) -> tuple[str, str, str]:
    """A page's text before, in and after the part between ``<!-- mark -->`` and its end."""
    start, end = f"<!-- {mark} -->\n", f"<!-- end of {mark.split(':')[0]} -->\n"
    before, rest = text.split(start)
    part, after = rest.split(end)
    return before + start, part, end + after


def with_part(text: str, mark: str, part: str) -> str:
    """The page's text with another part there."""
    before, _, after = part_of(text, mark)
    return f"{before}\n{part.strip()}\n\n{after}"


def rewrite(mark: str, part: str) -> None:
    """Puts the part into its page."""
    page = PAGES[mark]
    page.write_text(with_part(page.read_text(encoding="utf-8"), mark, part), encoding="utf-8")


if __name__ == "__main__":
    rewrite(KEYS, key_tables())
    rewrite(ROWS, row_tables())
