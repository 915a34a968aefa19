"""Overrides of the protocol, as Snakemake's command line has them."""


def override(path: str, value) -> dict:
    """Overrides with one value changed."""
    *parents, last = path.split(".")
    overrides: dict = {}
    inner = overrides
    for parent in parents:
        inner = inner.setdefault(parent, {})
    inner[last] = value
    return overrides
