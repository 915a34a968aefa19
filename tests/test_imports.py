"""What derives from records needs no learner: it loads neither torch, MuJoCo nor an algorithm."""

import json
import pkgutil
import subprocess
import sys

from repository import ROOT

import analysis
from algorithms import ALGORITHMS

LEARNERS = {f"algorithms.{path.rpartition('.')[0]}" for path in ALGORITHMS.values()}
HEAVY = {"torch", "mujoco", "algorithms.agent"} | LEARNERS


def loaded_by(modules: list[str]) -> set[str]:
    """Heavy modules that a fresh interpreter holds once it has imported `modules`."""
    code = (
        "import importlib, json, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(json.dumps(list(sys.modules)))"
    )
    command = [sys.executable, "-c", code, *modules]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(json.loads(output)) & HEAVY


def test_deriving_loads_no_learner():
    found = pkgutil.walk_packages(analysis.__path__, "analysis.")
    names = [module.name for module in found if not module.name.startswith("analysis.probes")]
    assert {"analysis.claims", "analysis.tables", "analysis.figures.mixing"} <= set(names)
    assert not loaded_by(names)


def test_a_probe_does():
    assert "torch" in loaded_by(["analysis.probes.exactness"])
