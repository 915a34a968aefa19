"""What derives from records needs no learner: it loads neither torch, MuJoCo nor an algorithm."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

from repository import ROOT

import analysis
from algorithms import ALGORITHMS
from analysis.plan_files import SOURCES

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


def _deriving() -> list[str]:
    found = pkgutil.walk_packages(analysis.__path__, "analysis.")
    return [module.name for module in found if not module.name.startswith("analysis.probes")]


def test_deriving_loads_no_learner():
    names = _deriving()
    assert {"analysis.claims", "analysis.tables", "analysis.figures.mixing"} <= set(names)
    assert not loaded_by(names)


def test_a_probe_does():
    assert "torch" in loaded_by(["analysis.probes.exactness"])


def test_what_a_derived_file_is_made_by_makes_it_new():
    """A module that is imported where files are derived is in the digest of their sources."""
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(*(m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)))"
    )
    command = [sys.executable, "-c", code, *_deriving()]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = [ROOT / name for name in ("algorithms", "analysis", "envs")]
    files = {Path(file) for file in output.split()}
    own = {file for file in files if any(file.is_relative_to(folder) for folder in folders)}
    digested = {file for pattern in SOURCES for file in ROOT.glob(pattern)}
    # Registries, whose lines stand in the plan, and what an environment is stepped by.
    digested |= {
        ROOT / folder / "__init__.py" for folder in ("algorithms", "analysis/probes", "envs")
    }
    digested |= {ROOT / "envs/point.py", ROOT / "envs/vector.py"}
    assert ROOT / "analysis/probes/samples.py" in own and own <= digested, own - digested
