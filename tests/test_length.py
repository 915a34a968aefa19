"""CONTRIBUTING: a file stays short enough to be held in the head."""

from repository import ROOT

LONGEST = 400
CODE = ("*.py", "*.smk", "Snakefile", "*.typ", "*.jinja")


def test_no_file_of_code_is_longer_than_contributing_says():
    assert f"no file of code is longer than {LONGEST} lines" in (
        " ".join((ROOT / "CONTRIBUTING.md").read_text().split())
    )
    parts = ("algorithms", "analysis", "envs", "paper", "rules", "tests")
    found = {file for part in parts for kind in CODE for file in (ROOT / part).rglob(kind)}
    length = {file.relative_to(ROOT): len(file.read_text().splitlines()) for file in found}
    assert len(length) > 150
    assert {file: lines for file, lines in length.items() if lines > LONGEST} == {}
