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
AUDIT = ("claims.csv", "claims.md")
FIGURES = (
    "learning_curves",
    "aggregate_bars",
    "performance_profiles",
    "probability_of_improvement",
)
MEASURED = (
    "compute.csv",
    *(
        f"figures/{name}.{kind}"
        for name in ("cost_of_steps", "cost_growth", "memory_parts")
        for kind in ("svg", "csv")
    ),
)
"""Of what machines measured: derived once the probe of costs has left a record."""


def paper_of(folder: str) -> str:
    """Where the paper on the results in `folder` stands."""
    return "paper/paper.pdf" if folder == "results" else f"{folder}/paper.pdf"
