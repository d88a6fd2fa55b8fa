"""What a run was made with: versions, the project's commit, and a digest of its sources."""

import contextlib
import hashlib
import platform
import subprocess
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
    """The commit that is checked out; "" where there is no checkout, or no git."""
    command = ["git", "-C", str(root), "rev-parse", "--verify", "--quiet", "HEAD"]
    with contextlib.suppress(OSError):
        if (root / ".git").exists():
            return subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return ""
