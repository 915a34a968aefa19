"""The report on planted records: its numbers are those of the results, and it asks for nothing."""

import functools
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import vl_convert
from audited import HOPPER
from planted import WALL_SECONDS
from report_page import HOSTILE, prepare, prepare_methods

from analysis import report, report_parts
from analysis.derived import number
from analysis.records import RecordError, load_plan, record_digest

VOID = {"meta", "link", "img", "br", "input", "hr"}
SOURCES = ("src", "href", "data", "action", "poster", "srcset", "formaction")
bundle = functools.cache(vl_convert.javascript_bundle)


@pytest.fixture(autouse=True)
def one_bundle(monkeypatch):
    """Vega takes seconds to pack."""
    monkeypatch.setattr(report.vl_convert, "javascript_bundle", bundle)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the results of three methods."""
    before = Path.cwd()
    folder = tmp_path_factory.mktemp("report")
    prepare_methods(folder)
    os.chdir(before)
    return folder


@pytest.fixture
def folder(built, tmp_path, monkeypatch) -> Path:
    """A copy of it, to change."""
    shutil.copytree(built, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def page() -> str:
    assert report.main(["--missing", "gap"]) == 0
    return Path("results/report.html").read_text()


class Page(HTMLParser):
    """Elements in order, those left open, words outside of scripts and styles, and scripts."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.open, self.words, self.scripts = [], [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> within {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, text):
        if self.open and self.open[-1] in ("script", "style"):
            self.scripts.append(text)
        else:
            self.words += text

    @property
    def data(self) -> dict:
        return json.loads(self.scripts[1])

    def outside(self) -> list[str]:
        """Addresses that would have to be asked for."""
        found = [a[name] for _, a in self.elements for name in SOURCES if a.get(name)]
        found = [address for address in found if not address.startswith(("#", "data:"))]
        return found + re.findall(r"@import[^;]*|url\([^)]*", self.scripts[0])


def changed(file: str, rows, column: str, value: str) -> None:
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table.loc[rows(table), column] = value
    table.to_csv(file, index=False)


# What it shows ----------------------------------------------------------------------------------


def test_numbers_are_those_of_the_results(folder):
    shown = Page(page())
    table1 = pd.read_csv("results/table1.csv")
    for value in [*table1["mean"].dropna(), *table1["claimed"].dropna()]:
        assert number(value) in shown.words
    for row in pd.read_csv("results/claims.csv").itertuples():
        assert row.statement in shown.words and row.reason in shown.words
    assert "4,567" not in shown.words and "planted source" not in shown.words
    changed("results/table1.csv", lambda t: t["algorithm"] == "ppo", "mean", "4567.2")
    changed("results/table1.csv", lambda t: t["algorithm"] == "ppo", "optimiser_steps", "76543")
    changed("results/hyperparameters.csv", lambda t: t.index >= 0, "source", "planted source")
    changed("results/claims.csv", lambda t: t["claim"] == "6-desk", "reason", "planted reason")
    shown = Page(page())
    assert all(
        word in shown.words for word in ("4,567", "76,543", "planted source", "planted reason")
    )


def test_verdicts_are_counted_and_come_first(folder):
    text = page()
    shown = Page(text)
    table = pd.read_csv("results/claims.csv")
    for verdict, count in table["verdict"].value_counts().items():
        badge = f'data-verdict="{verdict.replace(" ", "-")}" aria-pressed="false"><b>{count}</b>'
        assert badge in text
    assert f"{table['family'].nunique()} claims in {len(table)} rows" in shown.words
    sections = [a["id"] for tag, a in shown.elements if tag == "section"]
    assert sections[:3] == ["verdicts", "returns", "curves"] and sections[-1] == "runs"
    anchors = {a["href"][1:] for tag, a in shown.elements if tag == "a"}
    assert anchors == set(sections) - {"over-environments"}


def test_curves_hold_every_evaluation_with_its_three_axes(folder):
    data = Page(page()).data
    curves = pd.read_csv("results/figures/learning_curves.csv")
    own = curves[curves["series"].isin(["seed", "mean", "diverged"])]
    assert [p["value"] for p in data["points"]] == pytest.approx(own["value"].tolist())
    last = [p for p in data["points"] if p["transitions"] == 10_000 and p["kind"] == "seed"]
    assert len(last) == 11 and {p["updates"] for p in last} == {2000}
    assert {p["seconds"] for p in last} == {WALL_SECONDS}
    assert [p["seed"] for p in data["points"] if p["kind"] == "diverged"] == [3]
    assert len(data["runs"]) == len(pd.read_csv("results/provenance.csv")) == 15
    assert "A cross: the run diverged there." in data["notes"][HOPPER]
    assert "no record of seeds 1, 2, 3, 4" in data["notes"][HOPPER]


def test_seconds_of_a_record_without_a_clock_are_unknown(folder):
    file = Path(f"results/runs/desk/{HOPPER}/ppo/seed0/metrics.csv")
    file.write_text("transitions,updates\n10000,2000\n")
    plan = load_plan(None)
    for run in plan["scales"]["desk"]["runs"]:
        if run["digest"]:
            run["digest"] = record_digest(Path(run["path"]))
    Path("results/plan.json").write_text(json.dumps(plan) + "\n")
    points = Page(page()).data["points"]
    unknown = {(p["algorithm"], p["kind"]) for p in points if p["seconds"] is None}
    # Neither is the mean's, which would be another set of runs'.
    assert unknown == {("ppo", "seed"), ("ppo", "mean")}
    assert {p["seed"] for p in points if p["seconds"] is None and p["kind"] == "seed"} == {0}


def test_figures_and_tables_are_shown_as_they_come(folder):
    before = Page(page())
    assert "Not measured yet: the probes of time and memory (results/compute.csv)" in before.words
    assert "Other figures" not in before.words
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><path d="M0 0L9 9"/></svg>'
    for name in ("mixing", "a_new_one"):
        Path(f"results/figures/{name}.svg").write_text(svg)
    Path("results/compute.csv").write_text("quantity,value\nupdate_seconds,0.0123456\n")
    after = Page(page())
    assert "Not measured yet: the probes of time and memory" not in after.words
    assert "update_seconds" in after.words and "0.01235" in after.words
    assert "Other figures" in after.words and "A new one." in after.words
    assert "Gradient evaluations that samplers need to weigh two modes" in after.words
    text = Path("results/report.html").read_text()
    where = {name: text.index(f'id="figure-{name}"') for name in ("mixing", "a_new_one")}
    assert text.index('<section id="sampling"') < where["mixing"]
    assert where["mixing"] < text.index('<section id="exploration"') < where["a_new_one"]


def test_a_caption_of_no_topic_is_refused(folder, capsys):
    Path("paper/captions/nonsense").mkdir()
    Path("paper/captions/nonsense/mixing.rst").write_text("Mixing.\n")
    assert report.main(["--missing", "gap"]) == 2
    assert "paper/captions/nonsense/mixing.rst: stands in no topic" in capsys.readouterr().err


def test_without_a_record_it_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gaps = [(HOPPER, name, 0) for name in ("nc_lql", "ppo")]
    prepare(tmp_path, {}, "gap", gaps=gaps)
    text = page()
    shown = Page(text)
    assert "No training run of this scale is recorded" in shown.words
    assert "No run is recorded of which transitions to a threshold" in shown.words
    assert text.count("<td>no record</td>") == 2 and len(text) < 400_000


def test_clips_are_those_of_the_records(folder, capsys):
    assert "Rollouts" not in Page(page()).words
    place = Path(f"results/probes/rollouts/desk/{HOPPER}/ppo")
    place.mkdir(parents=True)
    (place / "seed0.webp").write_bytes(b"RIFF planted")
    record = {"env": HOPPER, "seed": 0, "shown_seconds": 6.0, "length": 1000, "return": 3210.4}
    (place / "seed0.json").write_text(json.dumps(record))
    text = page()
    assert "data:image/webp;base64,UklGRiBwbGFudGVk" in text
    assert "the first 6.0 s of an episode of 1,000 steps that returned 3,210" in text
    (place / "seed0.webp").unlink()
    assert report.main(["--missing", "gap"]) == 2
    assert "seed0.json: is no record of a rollout" in capsys.readouterr().err


# How it is made ---------------------------------------------------------------------------------


def test_the_page_is_whole_and_asks_for_nothing(folder):
    text = page()
    shown = Page(text)
    assert not shown.open and not shown.outside()
    assert "default-src 'none'" in text
    identities = [a["id"] for _, a in shown.elements if "id" in a]
    assert len(identities) == len(set(identities))
    # What these would find:
    for wrong in ('<img src="https://x.org/a.png">', '<a href="//x.org">x</a>'):
        assert Page(text.replace("<main>", f"<main>{wrong}")).outside()
    assert Page(text.replace("</style>", "@import 'x.css';</style>")).outside()
    with pytest.raises(AssertionError, match="within"):
        Page(text.replace("</h1>", "", 1))


def test_hostile_names_stay_words(folder, monkeypatch):
    changed("results/provenance.csv", lambda t: t.index == 0, "processor", "</script><b>x")
    text = page()
    shown = Page(text)
    assert "evil" in shown.words and not shown.open
    kinds = [a.get("type") for tag, a in shown.elements if tag == "script"]
    assert kinds == ["application/json", None, None]
    assert any(run["algorithm"] == HOSTILE for run in shown.data["runs"])
    assert shown.data["runs"][0]["provenance"]["processor"] == "</script><b>x"
    # Without escaping, the name would be an element.
    monkeypatch.setattr(report, "_script_json", lambda data: json.dumps(report._finite(data)))
    with pytest.raises((AssertionError, ValueError)):
        Page(page()).data  # noqa: B018


def test_the_same_results_are_the_same_bytes(folder):
    first = page()
    assert page() == first


@pytest.mark.parametrize("name", [*report.TABLES])
def test_a_table_that_is_not_there_is_named(folder, name):
    Path(f"results/{name}.csv").unlink()
    with pytest.raises(RecordError, match=f"results/{name}.csv: missing"):
        report.read_tables(Path("results"))


def test_what_is_not_finite_is_null():
    assert report._finite({"a": [float("nan"), 1.5, float("inf")]}) == {"a": [None, 1.5, None]}


def test_long_numbers_are_shortened_and_words_are_not():
    cells = ["0.123456", "-1.23456e-05", "12", "0.12", "v1.2345", ""]
    assert [*map(report_parts._short, cells)] == [
        *("0.1235", "-1.235e-05", "12", "0.12", "v1.2345", ""),
    ]
