"""What a run was made with: versions, the project's commit, and a digest of its sources."""

import hashlib
import platform
import re
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("extra_utils", "federal_defense")  # with sources, beside those at the top
PACKAGES = ("torch", "torchvision", "numpy")
DIGITS = 12  # of the digest


def versions(root: Path = ROOT) -> dict[str, str]:
    """Of all that a figure may depend on; without a commit where there is no checkout."""
    packages = {name: version(name) for name in PACKAGES}
    found = {"python": platform.python_version(), **packages}
    if commit := commit_of(root):
        found["commit"] = commit
    return {**found, "sources": sources_digest(root)}


def sources_digest(root: Path = ROOT) -> str:
    """Of the names and contents of all sources but the tests, wherever they lie."""
    paths = [
        *root.glob("*.py"),
        *(path for name in FOLDERS for path in (root / name).rglob("*.py")),
    ]
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in paths):
        content = path.read_bytes()
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()[:DIGITS]


def commit_of(root: Path = ROOT) -> str:
    """The commit that is checked out, read without git; "" where none is found.

    Source: gitrepository-layout(5).
    """
    try:
        git = root / ".git"
        if git.is_file():  # of a worktree, which shares its branches with others
            git = root / git.read_text().removeprefix("gitdir:").strip()
        shared = git / "commondir"
        common = git / shared.read_text().strip() if shared.is_file() else git
        head = (git / "HEAD").read_text().strip()
        name = head.removeprefix("ref:").strip()
        if name != head:
            loose = common / name
            head = loose.read_text().strip() if loose.is_file() else _packed(common, name)
    except (OSError, ValueError):
        return ""
    return head if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", head) else ""


def _packed(common: Path, name: str) -> str:
    lines = (common / "packed-refs").read_text().splitlines()
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), "")
