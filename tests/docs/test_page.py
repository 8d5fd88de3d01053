"""`make docs`: one page that shows the models and asks nobody for anything."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import ROOT, read

OVERVIEW = ROOT / "models" / "overview.md"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def test_the_overview_leads_to_models_and_has_a_colour_for_each_layer() -> None:
    text = read(OVERVIEW)
    models = {path.stem for path in (ROOT / "models").rglob("*.sql")}
    named = re.findall(r"\[(\w+)\]\(#!/model/model\.meterhouse\.(\w+)\)", text)
    assert named
    for shown, led_to in named:
        assert shown == led_to
        assert led_to in models, led_to
    project = yaml.safe_load(read(ROOT / "dbt_project.yml"))
    layers = {name: config for name, config in project["models"]["meterhouse"].items() if isinstance(config, dict)}
    layers = {name: config["+docs"]["node_color"] for name, config in layers.items() if "+schema" in config}
    layers["reference"] = project["seeds"]["meterhouse"]["+docs"]["node_color"]
    assert len(set(layers.values())) == len(layers)
    explained = re.findall(r"^\| (\w+) \| \w+ \|", text.partition("## Layers")[2], re.MULTILINE)
    assert explained[0] == "layer"
    assert set(explained[1:]) == {"raw", *layers}


@pytest.fixture(scope="module")
def page() -> Path:
    done = subprocess.run(["sh", "scripts/docs.sh"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    written = ROOT / "target" / "docs.html"
    assert done.stdout == f"Wrote {written}: open it in a browser, no network is needed.\n"
    return written


@pytest.mark.slow
def test_the_page_knows_the_types_and_nothing_of_the_machine(page: Path) -> None:
    text = read(page)
    assert '"send_anonymous_usage_stats": false' in text
    assert str(ROOT) not in text
    assert '"type": "DECIMAL(38,12)"' in text
    # Not built by default, and in the page all the same.
    assert '"model.meterhouse.usage_metadata": {"metadata"' in text
    assert subprocess.run(["git", "check-ignore", page], cwd=ROOT, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install it to see the page drawn")
@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("#!/overview", "Where to begin"),
        ("#!/model/model.meterhouse.usage_daily", "One row per organization, customer, member"),
    ],
    ids=["overview", "model"],
)
def test_the_page_is_drawn_with_the_network_off(page: Path, tmp_path: Path, place: str, shown: str) -> None:
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000",
        "--enable-logging=stderr", "--v=0", "--dump-dom", f"{page.as_uri()}{place}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    drawn = done.stdout.rpartition("</script>")[2]
    assert shown in drawn
    assert [line for line in done.stderr.splitlines() if ":CONSOLE" in line and "ERR_" in line] == []
