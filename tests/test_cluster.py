"""On a real Slurm, where one is installed: each of the situations of `tests/cluster.py`."""

import subprocess
import sys
from pathlib import Path

import cluster
import pytest
import slurm


@pytest.mark.cluster
@pytest.mark.skipif(not slurm.is_installed(), reason="Slurm is not installed here, or not root")
@pytest.mark.parametrize("situation", cluster.SITUATIONS)
def test_the_workflow_ends_right_on_slurm(situation):
    # A process of its own: what Slurm leaves behind becomes its child, and ends with it.
    command = [sys.executable, str(Path(cluster.__file__)), situation]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout
