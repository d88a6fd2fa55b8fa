"""--help and the tables of docs/keys.md."""

from __future__ import annotations

from dataclasses import fields

from extra_utils.config.help import help_text, parameter_rows, rows_of
from extra_utils.config.keys import AttackConfig, ChoiceConfig, Config, GivenConfig
from federal_defense.rules.table import TABLES
from tests.readme import markdown


def test_every_key_has_a_text() -> None:
    keys = [f.name for f in fields(Config)]
    assert [row[0] for row in rows_of(GivenConfig)] == [f.name for f in fields(GivenConfig)] == keys
    for kind in (AttackConfig, ChoiceConfig):
        keys = [f.name for f in fields(kind) if f.name != "parameters"]
        assert [row[0] for row in rows_of(kind)] == keys
    assert all(
        row[3] for kind in (GivenConfig, AttackConfig, ChoiceConfig) for row in rows_of(kind)
    )


def test_help_has_every_key_its_default_and_every_parameter() -> None:
    text = help_text(TABLES)
    for name, _, default, _ in rows_of(GivenConfig):
        assert f"--{name}  (" in text
        assert f"default: {default})" in text
    assert "attack.* of label_flip: images of one class are trained on as another" in text
    assert "the label that they get" in text
    assert "--target  (a whole number from 0 to 2147483647; default: 4)" in text
    assert "defense.* of mean: the clients' differences" in text
    assert "attack.* of every attack" in text
    assert "defense.* of every defense" in text
    assert "schedule.* of every" not in text  # which have only a name in common


def test_parameters_without_a_default_are_required() -> None:
    def rule(*, f: int, beta: float = 0.2) -> None:
        """a rule

        `f`: how many
        `beta`: how much
        """

    assert [(row[0], row[2]) for row in parameter_rows(rule)] == [
        ("f", "required"),
        ("beta", "0.2"),
    ]
    assert (
        markdown(parameter_rows(rule)).splitlines()[2]
        == "| `f` | a whole number | `required` | how many |"
    )
