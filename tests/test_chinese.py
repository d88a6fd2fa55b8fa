"""The Chinese pages hold what the English ones do: commands, keys, links, figures, headings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.readme import DOCS, README

PAIRS = {README: DOCS / "README.zh-CN.md", DOCS / "article.md": DOCS / "article.zh-CN.md"}
ENGLISH = {chinese: english for english, chinese in PAIRS.items()}
TEXTS = {page: page.read_text(encoding="utf-8") for page in [*PAIRS, *ENGLISH]}
KINDS = ("heading", "paragraph", "row", "command", "comment", "mark")
FIGURE = re.compile(r"(?<![A-Za-z0-9_])(?<![A-Za-z]-)[0-9]+(?:[.,][0-9]+)*")  # not of CIFAR-10, fc3
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]*)\)")
EMPHASIS = re.compile(r"\*+[^*\s][^*]*\*+")
COMMENT = re.compile(r"(?:^|\s+)#\s")
HEADING = re.compile(r"^(#+) (.*)$", re.MULTILINE)


@dataclass
class Unit:
    """A paragraph, row, command, or a section's comments: its first line, what must be equal."""

    line: int
    facts: Counter[str]


@dataclass
class Section:
    """A heading and what stands under it, by kind."""

    level: int = 0
    title: str = "before the first heading"
    units: dict[str, list[Unit]] = field(default_factory=lambda: {kind: [] for kind in KINDS})


def kind_of(line: str) -> str:
    """What a line outside of fences belongs to; "" for an empty one."""
    starts = {"    ": "code", "|": "row", "#": "heading", "<!--": "mark"}
    if not line.strip():
        return ""
    return next((kind for start, kind in starts.items() if line.startswith(start)), "paragraph")


def pieces(text: str) -> Iterator[tuple[str, int, str]]:
    """Kind, number and text of each line, but of a paragraph as a whole; of code its own indent."""
    in_fence, last = False, ""
    joined: list[tuple[str, int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if is_fence := line.startswith("```"):
            in_fence = not in_fence
        kind = "" if is_fence else "code" if in_fence else kind_of(line)
        if kind == last == "paragraph":
            _, begin, before = joined.pop()
            joined.append((kind, begin, f"{before} {line}"))
        elif kind:
            joined.append((kind, number, line if in_fence or kind != "code" else line[4:]))
        last = kind
    yield from joined


@cache
def sections(page: Path, text: str) -> list[Section]:
    """The page's sections, the first of which has what stands before any heading."""
    found = [Section()]
    for kind, number, piece in pieces(text):
        units = found[-1].units
        if heading := HEADING.match(piece) if kind == "heading" else None:
            found.append(Section(len(heading[1]), heading[2]))
            facts = Counter(prose(page, text, heading[2]))
            found[-1].units["heading"].append(Unit(number, facts))
        elif kind == "code":
            code, *comment = COMMENT.split(piece, maxsplit=1)
            if code.strip():
                units["command"].append(Unit(number, Counter([f"`{code.rstrip()}`"])))
            units["comment"] = units["comment"] or [Unit(number, Counter())]  # one of the section
            units["comment"][0].facts.update(
                f"figure {n}" for n in FIGURE.findall("".join(comment))
            )
        elif kind == "row":
            cells = piece.strip().strip("|").split("|")
            facts = Counter([f"a row of {len(cells)} cells"])
            for column, cell in enumerate(cells, 1):
                facts.update(f"{fact} in column {column}" for fact in prose(page, text, cell))
            units["row"].append(Unit(number, facts))
        else:
            facts = Counter([piece] if kind == "mark" else prose(page, text, piece))
            units[kind].append(Unit(number, facts))
    return found


def prose(page: Path, text: str, piece: str) -> Iterator[str]:
    """What must be equal of a paragraph or a cell; its words need not be."""
    for code in CODE.findall(piece):
        yield f"`{' '.join(code.split())}`"
    piece = CODE.sub("", piece)
    for target in LINK.findall(piece):
        yield f"link to {destination(page, text, target)}"
    piece = LINK.sub("]", piece)
    for figure in FIGURE.findall(piece):
        yield f"figure {figure}"
    for _ in EMPHASIS.findall(piece):
        yield "emphasis"


def destination(page: Path, text: str, target: str) -> str:
    """Where a link leads, said in the same words for both languages: a heading by its number."""
    if target.startswith("http"):
        return target
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    name = ENGLISH.get(file, file).relative_to(ROOT).as_posix()
    if file in TEXTS and (file in ENGLISH) != (page in ENGLISH):
        name += " in the other language"
    titles = [found[2] for found in HEADING.finditer(text_of(file, page, text))]
    slugs = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
    if anchor in slugs:
        return f"{name}, heading {slugs.index(anchor) + 1}"
    return f"{name}#{anchor}" if anchor else name


def text_of(file: Path, page: Path, text: str) -> str:
    return text if file == page else TEXTS.get(file, "")


def differences(english: Path, ours: str, theirs: str) -> list[str]:
    """What is not the same in an English page and its Chinese one, each thing with its place."""
    chinese = PAIRS[english]
    pair = sections(english, ours), sections(chinese, theirs)
    levels = [[section.level for section in each] for each in pair]
    found: list[str] = []
    if levels[0] != levels[1]:
        titles = [[f"{'#' * own.level} {own.title}" for own in each[1:]] for each in pair]
        found.append(f"{english.name}, {chinese.name}: not the same headings: {titles}")
        pair = [whole(pair[0])], [whole(pair[1])]
    for one, other in zip(*pair, strict=True):
        for kind in KINDS:
            found += compared(english, f"{one.title} | {other.title}", kind, one, other)
    return found


def whole(parts: list[Section]) -> Section:
    """All sections as one."""
    units = {kind: [unit for part in parts for unit in part.units[kind]] for kind in KINDS}
    return Section(title="the whole page", units=units)


def compared(page: Path, title: str, kind: str, one: Section, other: Section) -> list[str]:
    """The differences between units of one kind; between all together where one is missing."""
    place = f"{page.name}, {PAIRS[page].name}, section [{title}]"
    ours, theirs = one.units[kind], other.units[kind]
    if len(ours) == len(theirs):
        return [
            f"{page.name}:{a.line}, {PAIRS[page].name}:{b.line}: {said}"
            for a, b in zip(ours, theirs, strict=True)
            for said in one_sided(a.facts, b.facts)
        ]
    totals = [sum((unit.facts for unit in units), Counter[str]()) for units in (ours, theirs)]
    counts = f"{place}: {len(ours)} {kind}s in English, {len(theirs)} in Chinese"
    return [counts, *(f"{place}, {kind}s: {said}" for said in one_sided(*totals))]


def one_sided(ours: Counter[str], theirs: Counter[str]) -> list[str]:
    """Each fact that one page has more often than the other."""
    return [
        f"{fact}: {ours[fact]} x in English, {theirs[fact]} x in Chinese"
        for fact in [*(ours - theirs), *(theirs - ours)]
    ]


def differences_with(page: Path, text: str) -> list[str]:
    """The same where one page of a pair has another text."""
    english = ENGLISH.get(page, page)
    texts = TEXTS | {page: text}
    return differences(english, texts[english], texts[PAIRS[english]])


@pytest.mark.parametrize("english", PAIRS, ids=lambda page: page.name)
def test_the_chinese_page_holds_what_the_english_one_does(english: Path) -> None:
    found = differences(english, TEXTS[english], TEXTS[PAIRS[english]])
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
def test_each_page_leads_to_its_other_language_at_the_top(page: Path) -> None:
    top = TEXTS[page].splitlines()[2]
    found = list(prose(page, TEXTS[page], top))
    name = ENGLISH.get(page, page).relative_to(ROOT).as_posix()
    assert found == [f"link to {name} in the other language"]


Changed = Iterator[tuple[str, str]]


def replaced(text: str, found: re.Match[str], new: str) -> str:
    return text[: found.start()] + new + text[found.end() :]


def other_figures(text: str) -> Changed:
    for found in FIGURE.finditer(text):
        yield f"{found[0]}9", replaced(text, found, f"{found[0]}9")


def other_keys(text: str) -> Changed:
    for found in re.finditer(r"(?<!`)`([^`\n]+)`(?!`)", text):
        yield f"`{found[1]}x`", replaced(text, found, f"`{found[1]}x`")


def other_links(text: str) -> Changed:
    for found in LINK.finditer(text):
        yield "gone.md", replaced(text, found, "](gone.md)")


def dropped_commands(text: str) -> Changed:
    lines = text.splitlines()
    for kind, number, piece in pieces(text):
        if kind == "code" and (code := COMMENT.split(piece, maxsplit=1)[0].rstrip()):
            yield f"`{code}`", "\n".join(lines[: number - 1] + lines[number:])


def dropped_rows(text: str) -> Changed:
    for found in re.finditer(r"^\|.*\n", text, re.MULTILINE):
        yield "rows in English", replaced(text, found, "")


def deeper_headings(text: str) -> Changed:
    for found in HEADING.finditer(text):
        yield "headings", replaced(text, found, f"#{found[0]}")


def dropped_paragraphs(text: str) -> Changed:
    lines = text.splitlines()
    for kind, number, _ in pieces(text):
        if kind == "paragraph":
            end = next((n for n in range(number, len(lines)) if not lines[n].strip()), len(lines))
            yield "paragraphs in English", "\n".join(lines[: number - 1] + lines[end:])


@pytest.mark.slow
@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.name)
@pytest.mark.parametrize(
    ("change", "at_least"),
    [(other_figures, 15), (other_keys, 50), (other_links, 3), (dropped_commands, 3),
     (dropped_rows, 40), (deeper_headings, 5), (dropped_paragraphs, 2)],
)  # fmt: skip
def test_whatever_changes_in_one_page_is_named(
    page: Path, change: Callable[[str], Changed], at_least: int
) -> None:
    """Each figure, key, link, command, row, heading and paragraph in turn, in either language."""
    changed = list(change(TEXTS[page]))
    assert len(changed) >= at_least
    for what, text in changed:
        found = [line.split(": ", 1)[1] for line in differences_with(page, text)]  # without places
        assert any(what in said for said in found), what


SMALL = (
    "# T\n\nOne of 3 `a` [b](docs/speed.md).\n\n    run --x=1  # a 2\n\n| k | `l` |\n|---|---|\n"
)


@pytest.mark.parametrize(
    ("old", "new", "where", "said"),
    [
        ("3", "4", 3, ["figure 3", "figure 4"]),
        ("`a`", "a", 3, ["`a`"]),
        ("[b](speed.md)", "b", 3, ["link to docs/speed.md"]),
        ("One of", "*One* of", 3, ["emphasis"]),
        ("One of", "fc1, CIFAR-10 of", 3, []),
        ("x=1", "x=2", 5, ["`run --x=1`", "`run --x=2`"]),
        ("    run", "      run", 5, ["`run --x=1`", "`  run --x=1`"]),
        ("a 2", "b 2", 5, []),
        ("a 2", "a 2,5", 5, ["figure 2", "figure 2,5"]),
        ("| k | `l` |", "| `l` | k |", 7, ["`l` in column 2", "`l` in column 1"]),
        ("| k | `l` |", "| k | `l` | |", 7, ["a row of 2 cells", "a row of 3 cells"]),
    ],
)
def test_a_difference_is_said_with_its_lines(
    old: str, new: str, where: int, said: list[str]
) -> None:
    theirs = SMALL.replace("docs/speed.md", "speed.md")
    assert differences(README, SMALL, theirs) == []
    found = differences(README, SMALL, theirs.replace(old, new))
    counts = ["1 x in English, 0 x in Chinese", "0 x in English, 1 x in Chinese"]
    counts = counts[1:] if said == ["emphasis"] else counts[: len(said)]
    place = f"README.md:{where}, README.zh-CN.md:{where}"
    assert found == [f"{place}: {what}: {n}" for what, n in zip(said, counts, strict=True)]


def test_what_is_missing_is_said_with_its_section() -> None:
    theirs = SMALL.replace("docs/speed.md", "speed.md").replace("    run --x=1  # a 2\n", "")
    place = "README.md, README.zh-CN.md, section [T | T]"
    assert differences(README, SMALL, theirs) == [
        f"{place}: 1 commands in English, 0 in Chinese",
        f"{place}, commands: `run --x=1`: 1 x in English, 0 x in Chinese",
        f"{place}: 1 comments in English, 0 in Chinese",
        f"{place}, comments: figure 2: 1 x in English, 0 x in Chinese",
    ]
    assert "not the same headings" in differences(README, SMALL, f"{theirs}\n## U\n")[0]


def test_links_lead_to_the_same_heading_in_the_same_language() -> None:
    ours = "# T\n\n[a](docs/article.md) [b](#u)\n\n## U\n"
    theirs = "# 题\n\n[甲](article.zh-CN.md) [乙](#乙)\n\n## 乙\n"
    assert differences(README, ours, theirs) == []
    for old, new in [("article.zh-CN.md", "article.md"), ("#乙)", "#题)"), ("#乙)", "#u)")]:
        assert differences(README, ours, theirs.replace(old, new)), new
