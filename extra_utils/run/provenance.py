"""What a run was made with: versions, the project's commit, and a digest of its sources."""

import hashlib
import platform
import re
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ("*.py", "extra_utils/**/*.py", "federal_defense/**/*.py")
PACKAGES = ("torch", "torchvision", "numpy")


def versions(root: Path = ROOT) -> dict[str, str]:
    """Of all that a figure may depend on; without a commit where there is no checkout."""
    packages = {name: version(name) for name in PACKAGES}
    commit = {"commit": found} if (found := commit_of(root)) else {}
    return {"python": platform.python_version(), **packages, **commit, "sources": digest_of(root)}


def digest_of(root: Path = ROOT) -> str:
    """Of the names and contents of all sources but the tests, wherever the project lies."""
    digest = hashlib.sha256()
    paths = (path for pattern in SOURCES for path in root.glob(pattern))
    for path in sorted(paths, key=Path.as_posix):
        name, content = path.relative_to(root).as_posix(), path.read_bytes()
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]


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
        if (name := head.removeprefix("ref:").strip()) != head:
            is_loose = (common / name).is_file()
            lines = (common / (name if is_loose else "packed-refs")).read_text().splitlines()
            head = next(line.split()[0] for line in lines if is_loose or line.endswith(f" {name}"))
    except (OSError, ValueError, StopIteration, IndexError):
        return ""
    return head if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", head) else ""
