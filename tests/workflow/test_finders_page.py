"""Every command of docs/finders.md, and the finders of that page, on the smoke run's events."""

import re
import shlex
import shutil

import pandas as pd
import pytest

SMOKE = "config/smoke.yaml"


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "finders.md").read_text()


@pytest.fixture(scope="module")
def done(page, root, copy_of_smoke):
    """The smoke run, after the page's commands, in their order; the tables that each left."""
    checkout = copy_of_smoke()
    shutil.copytree(root / "docs" / "finders", checkout.folder / "docs" / "finders")
    for kind, name in (("python", "mine.py"), ("yaml", "mine.yaml")):
        (text,) = re.findall(f"```{kind}\n# {name}\n(.*?)```", page, re.DOTALL)
        (checkout.folder / name).write_text(text)
    checkout.tables = {}
    for command in re.findall(r"^snakemake (.*)$", page, re.MULTILINE):
        target, option, *files = shlex.split(command)
        # Those that are meant for the 100 events of the default run as well.
        files = [SMOKE, *(file for file in files if file != SMOKE)]
        checkout.output = checkout.run(target, option, *files)
        table = pd.read_csv(checkout.folder / "results" / "smoke" / "physics.csv")
        checkout.tables[files[-1]] = table
    return checkout


def test_the_finders_are_judged_beside_ours(done):
    methods = {name: set(table.method) for name, table in done.tables.items()}
    ours = {"exatrkx", "walkthrough", "CKF"}
    assert methods == {
        "mine.yaml": ours | {"cells", "prompt"},
        "docs/finders/helix.yaml": ours | {"helix"},
    }


def overall(table, quantity, population):
    rows = table[(table.quantity == quantity) & (table.population == population)]
    return rows[rows.variable == "overall"].set_index("method").value


def test_they_find_tracks_and_are_timed(done):
    for table in done.tables.values():
        assert (overall(table, "time_mean_ms", "events") > 0).all()
    helix, mine = (
        overall(done.tables[name], "technical_efficiency", "A")
        for name in ("docs/finders/helix.yaml", "mine.yaml")
    )
    assert 0.7 < helix["helix"] < helix["CKF"]
    assert 0 < mine["cells"] < mine["CKF"] and 0.5 < mine["prompt"] < mine["CKF"]


def test_the_figure_of_the_page_is_drawn_and_shown(done, page, root):
    assert (done.folder / "results/smoke/figures/efficiency_vs_time.png").is_file()
    (shown,) = re.findall(r"^!\[.*\]\((.*)\)$", page, re.MULTILINE)
    assert (root / "docs" / shown).read_bytes().startswith(b"\x89PNG")


def test_what_is_there_is_found_once(done):
    # The events and the tracks of the others are those of the smoke run.
    assert re.findall("Finding the tracks with (.*)", done.output) == ["helix"]


def test_the_example_has_thirty_lines(root):
    assert len((root / "docs" / "finders" / "helix.py").read_text().splitlines()) <= 30
