"""The README's tables of keys, made from the config's own docstrings.

python -m tests.readme    # rewrites them in README.md
"""

from __future__ import annotations

from extra_utils.config import AttackConfig
from extra_utils.config_help import key_rows, markdown, nested_rows, parameter_rows, summary
from federal_defense.attacks import ATTACKS
from federal_defense.rules import DEFENSES
from tests.helpers import ROOT

README = ROOT / "README.md"
START, END = "<!-- keys: python -m tests.readme -->\n", "<!-- end of keys -->\n"


def key_tables() -> str:
    """Markdown: the keys of a config, of every attack, of each attack, and of each rule."""
    parts = [markdown(key_rows()), "Keys of every `attack`:", markdown(nested_rows(AttackConfig))]
    for title, table in (("attack", ATTACKS), ("defense", DEFENSES)):
        for name, function in table.items():
            parts.append(f"`{title}` `{name}`: {summary(function)}.")
            if rows := parameter_rows(function):
                parts.append(markdown(rows))
    return "\n\n".join(parts) + "\n"


def with_current_tables(text: str) -> str:
    """The README's text with the tables between the marks made anew."""
    before, rest = text.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{key_tables()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(with_current_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
