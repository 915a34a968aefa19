"""Where things stand: what the workflow derives, of every scale under its folder, and records of
probes. `analysis.resolution` adds those of runs."""

from pathlib import Path

TABLES = (
    "table1.csv",
    "table1.md",
    "final_scores.csv",
    "comparisons.csv",
    "aggregate.csv",
    "sample_efficiency.csv",
    "hyperparameters.csv",
    "provenance.csv",
)
LABORATORY = ("bandit", "sensitivity", "ablation", "exploration", "proposals")
"""Tables of studies that stand beside those of a scale: `analysis.<name>` and its figure."""
AUDIT = ("claims.csv", "claims.md", "report.html")
FIGURES = (
    "learning_curves",
    "aggregate_bars",
    "performance_profiles",
    "probability_of_improvement",
    "chains_in_training",
)


def _with_figures(table: str, *figures: str) -> tuple[str, ...]:
    return table, *(f"figures/{name}.{kind}" for name in figures for kind in ("svg", "csv"))


PROBED = {
    "throughput": _with_figures("throughput.csv", "throughput"),
    "exactness": _with_figures("sampler_exactness.csv", "sampler_exactness"),
    "mixing": _with_figures("mixing.csv", "mixing"),
    "costs": _with_figures("compute.csv", "cost_of_steps", "cost_growth", "memory_parts"),
}
"""By the folder of a probe's records: what is derived from them, of no scale."""
RESULTS = Path("results")
PROBES = RESULTS / "probes"
CLIPS = PROBES / "rollouts"


def probed() -> list[str]:
    """What can be derived from the records of probes at hand, under the default scale's folder."""
    return [
        name for probe, names in PROBED.items() if any((PROBES / probe).glob("*")) for name in names
    ]


def clips_of(scale: str) -> list[str]:
    """Records of rollouts: animations, and what each shows."""
    return sorted(map(str, (CLIPS / scale).glob("*/*/*.*")))


def paper_of(folder: str) -> str:
    """Where the paper on the results in `folder` stands."""
    return "paper/paper.pdf" if folder == "results" else f"{folder}/paper.pdf"


def is_audit(file: str) -> bool:
    """Whether a file is the paper or the report, which are made from all others."""
    return file.endswith((".pdf", ".html"))


def laboratory_files(table: str) -> tuple[str, ...]:
    """Files of a table of `LABORATORY`, under the folder of its scale."""
    return _with_figures(f"{table}.csv", table)
