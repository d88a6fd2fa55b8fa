"""What a run says it was made with."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from extra_utils.run.metrics import PACKAGES, digest_of, versions

IDENTITY = {
    f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}
FILES = {"main.py": "1", "extra_utils/run/a.py": "2", "federal_defense/b.py": "3"}
OTHERS = {"tests/test_a.py": "4", "runs/c.py": "5", "extra_utils/notes.txt": "6"}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def git(*words: str, where: Path) -> str:
    env = {"PATH": os.environ["PATH"], "HOME": str(where), **IDENTITY}
    done = subprocess.run(["git", *words], cwd=where, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    root = write(tmp_path / "project", FILES)
    git("init", "--quiet", "--initial-branch=some/branch", where=root)
    git("add", ".", where=root)
    git("commit", "--quiet", "-m", "first", where=root)
    return root


def commit_of(root: Path) -> str:
    return versions(root).get("commit", "")


def test_versions_name_what_computes(tmp_path: Path) -> None:
    assert set(versions()) - {"commit"} == {"python", *PACKAGES, "sources"}
    assert set(versions(tmp_path)) == {"python", *PACKAGES, "sources"}


def test_the_digest_is_of_the_sources_names_and_contents_alone(tmp_path: Path) -> None:
    one = digest_of(write(tmp_path / "one", FILES))
    assert len(one) == 12
    assert int(one, 16) >= 0
    assert digest_of(write(tmp_path / "two", OTHERS | dict(reversed(FILES.items())))) == one
    changes = [
        FILES | {"main.py": "0"},
        {"main.py": "1", "extra_utils/run/c.py": "2", "federal_defense/b.py": "3"},
        {"main.py": "1", "federal_defense/b.py": "3"},
        FILES | {"extra_utils/run/a.py": "", "federal_defense/b.py": "32"},
    ]
    others = {digest_of(write(tmp_path / str(n), c)) for n, c in enumerate(changes)}
    assert len(others - {one}) == len(changes)


def test_the_commit_is_gits_own(checkout: Path) -> None:
    first = git("rev-parse", "HEAD", where=checkout)
    assert commit_of(checkout) == first
    git("pack-refs", "--all", where=checkout)
    assert not (checkout / ".git/refs/heads/some/branch").exists()
    assert commit_of(checkout) == first
    git("checkout", "--quiet", "--detach", where=checkout)
    git("commit", "--quiet", "--allow-empty", "-m", "second", where=checkout)
    assert commit_of(checkout) == git("rev-parse", "HEAD", where=checkout) != first


def test_the_commit_of_a_worktree_is_its_own(checkout: Path, tmp_path: Path) -> None:
    place = tmp_path / "worktree"
    git("worktree", "add", "--quiet", "-b", "other", str(place), where=checkout)
    assert commit_of(place) == commit_of(checkout) != ""
    git("commit", "--quiet", "--allow-empty", "-m", "second", where=place)
    assert commit_of(place) == git("rev-parse", "HEAD", where=place) != commit_of(checkout)


def test_a_damaged_or_empty_checkout_has_no_commit(checkout: Path, tmp_path: Path) -> None:
    assert commit_of(tmp_path) == ""
    for head in (b"", b"ref: refs/heads/none", b"\xff", b"ref: refs/heads", b"<b>", b"a" * 39):
        (checkout / ".git" / "HEAD").write_bytes(head)
        assert commit_of(checkout) == "", head
    shutil.rmtree(checkout / ".git")
    (checkout / ".git").write_text("gitdir: /nowhere/at/all\n")
    assert commit_of(checkout) == ""
