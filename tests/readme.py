"""The README's tables of keys, made from the config's own docstrings.

python -m tests.readme    # rewrites them in README.md
"""

from __future__ import annotations

from extra_utils.config.help import key_rows, markdown, nested_rows, parameter_rows, summary
from extra_utils.config.keys import AttackConfig
from federal_defense.attacks import ATTACKS
from federal_defense.rules.table import DEFENSES
from tests.helpers import ROOT

README = ROOT / "README.md"
KEYS, SPEED = "keys: python -m tests.readme", "speed: python -m tests.benchmarks.report"


def key_tables() -> str:
    """Markdown: the keys of a config, of every attack, of each attack, and of each rule."""
    parts = [markdown(key_rows()), "Keys of every `attack`:", markdown(nested_rows(AttackConfig))]
    for title, table in (("attack", ATTACKS), ("defense", DEFENSES)):
        for name, function in table.items():
            parts.append(f"`{title}` `{name}`: {summary(function)}.")
            if rows := parameter_rows(function):
                parts.append(markdown(rows))
    return "\n\n".join(parts) + "\n"


def with_part(text: str, mark: str, part: str) -> str:
    """The README's text with another part between ``<!-- mark -->`` and the mark's end."""
    start, end = f"<!-- {mark} -->\n", f"<!-- end of {mark.split(':')[0]} -->\n"
    before, rest = text.split(start)
    _, after = rest.split(end)
    return f"{before}{start}\n{part.strip()}\n\n{end}{after}"


def rewrite(mark: str, part: str) -> None:
    """Puts the part into README.md."""
    text = with_part(README.read_text(encoding="utf-8"), mark, part)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    rewrite(KEYS, key_tables())
