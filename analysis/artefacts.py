"""Files that the workflow derives for every scale, under its folder."""

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
AUDIT = ("claims.csv", "claims.md")
FIGURES = (
    "learning_curves",
    "aggregate_bars",
    "performance_profiles",
    "probability_of_improvement",
)


def paper_of(folder: str) -> str:
    """Where the paper on the results in `folder` stands."""
    return "paper/paper.pdf" if folder == "results" else f"{folder}/paper.pdf"


def laboratory_files(table: str) -> tuple[str, ...]:
    """Files of a table of `LABORATORY`, under the folder of its scale."""
    return (f"{table}.csv", f"figures/{table}.svg", f"figures/{table}.csv")
