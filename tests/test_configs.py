"""Every file in configs/ is loaded and run, made small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import ROOT, read_rows, run_main

CONFIGS = sorted((ROOT / "configs").glob("*.json"))


@pytest.mark.parametrize("config", CONFIGS, ids=[path.stem for path in CONFIGS])
def test_the_config_runs(config: Path, data_path: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    done = run_main(
        f"--config={config}", f"--data_path={data_path}", f"--run_dir={run_dir}",
        "--offline_data=synthetic", "--download=false", "--num_train=120", "--num_test=50",
        "--global_epochs=1", "--local_epochs=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["round"] for row in read_rows(run_dir, "round")] == [0, 1]
