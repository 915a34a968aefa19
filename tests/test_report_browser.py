"""The report in a headless Chromium: it draws, answers, and asks the network for nothing."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from audited import HOPPER
from report_page import prepare_methods

from analysis import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--hide-scrollbars", "--virtual-time-budget=20000"),
)
READER = """
<script>
(async () => {
  const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
  const get = (selector) => document.querySelector(selector);
  const lines = (chart) => [...document.querySelectorAll(`#${chart} .mark-line path`)].filter(
    (path) => path.getAttribute("d").length > 20).length;
  const told = { wide: document.documentElement.scrollWidth <= window.innerWidth };
  const change = async (name, value) => {
    get(`[name=${name}]`).value = value;
    get("#pickers").dispatchEvent(new Event("change"));
    await wait(1);
  };
  await wait(2);
  told.lines = lines("curve-chart");
  const title = () => [...document.querySelectorAll("#curve-chart .role-axis-title text")].map(
    (text) => text.textContent);
  told.titles = title();
  await change("axis", "seconds");
  told.seconds = [lines("curve-chart"), title()];
  get("[name=seeds]").checked = false;
  await change("axis", "updates");
  told.means = lines("curve-chart");
  get("tr[data-run]").click();
  await wait(1);
  told.run = [get("#run-name").textContent, lines("run-chart")];
  get("[data-verdict=not-tested]").click();
  told.topics = [...document.querySelectorAll("#verdicts details.claim")].filter(
    (claim) => !claim.hidden && claim.dataset.verdicts !== "not-tested").length;
  get("#theme").click();
  await wait(1);
  told.dark = [document.documentElement.dataset.theme, lines("curve-chart")];
  told.hacked = window.hacked ?? null;
  document.body.dataset.told = JSON.stringify(told);
})();
</script>
"""


def visit(file: Path) -> tuple[dict, list[str], set[str]]:
    """What a reader who clicks about is shown, console messages, and addresses asked for."""
    copy = file.with_name("visited.html")
    # The last one: Vega has another in a string.
    start, end = file.read_text().rsplit("</body>", 1)
    copy.write_text(f"{start}{READER}</body>{end}")
    log = file.with_name("network.json")
    profile = file.parent / "profile"
    ended = subprocess.run(
        [
            *(CHROMIUM, *FLAGS, f"--user-data-dir={profile}", f"--log-net-log={log}"),
            *("--window-size=1000,700", "--dump-dom", f"file://{copy.resolve()}"),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        env={"HOME": str(profile), "PATH": "/usr/bin:/bin"},
    )
    found = re.search(r'data-told="([^"]*)"', ended.stdout)
    assert found, ended.stderr[-2000:]
    console = [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
    told = json.loads(found[1].replace("&quot;", '"').replace("&amp;", "&"))
    return told, console, set(asked_by_pages(log))


def asked_by_pages(log: Path) -> Iterator[str]:
    """Addresses in Chromium's log of its network; it asks for some itself, which have no origin."""
    for event in json.loads(log.read_text())["events"]:
        asked = event.get("params", {})
        by_itself = asked.get("initiator", "not an origin") == "not an origin"
        if not by_itself and not re.match("(file|data|blob):", asked["url"]):
            yield asked["url"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_reader_sees_curves_and_nothing_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prepare_methods(tmp_path)
    assert report.main(["--missing", "gap"]) == 0
    told, console, asked = visit(Path("results/report.html"))
    assert not console and not asked
    # Eleven runs, and a mean of each of three methods.
    assert told["lines"] == 14 and told["means"] == 3
    assert told["titles"] == ["environment transitions", "return"]
    assert told["seconds"] == [14, ["wall-clock seconds", "return"]]
    assert told["run"][0] == f"NC-LQL on {HOPPER}, seed 0" and told["run"][1] == 1
    assert told["dark"] == ["dark", 3]  # what was picked stays
    assert told["topics"] == 0 and told["wide"] and told["hacked"] is None


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_this_would_be_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("plain.html").write_text("<!doctype html><body>{}</body>")
    reader = """<script>
      console.error("planted");
      document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/planted.png" }));
      document.body.dataset.told = "{}";
    </script>"""
    monkeypatch.setattr("test_report_browser.READER", reader)
    told, console, asked = visit(Path("plain.html"))
    assert told == {} and any("planted" in line for line in console)
    assert asked == {"http://127.0.0.1:9/planted.png"}
