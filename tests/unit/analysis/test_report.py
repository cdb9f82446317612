import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from hand_made import make_summary
from tables import make_tables

from exatrkx_service.analysis.report import ReportError, a_a_check, caption_html, render, validity
from exatrkx_service.analysis.their_model import their_checks

ROOT = Path(__file__).parents[3]
CAPTIONS = {path.stem: path for path in (ROOT / "workflow" / "report").glob("*.rst")}
CONFIG = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
PROVENANCE = {
    "common": {"git_commit": "0123abc", "cpu": {"model": "<Fast & Co>"}},
    "differs": {"gpu": {"S1/round1": "V100", "S1/round2": "A100"}},
    "jobs": {"S1/round1": {}, "S1/round2": {}},
}


class Page(HTMLParser):
    """Collects the addresses and the open elements of a page."""

    VOID = ("meta", "img", "br", "link", "hr", "input")

    def __init__(self, text):
        super().__init__()
        self.links, self.open, self.images = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href"):
                (self.images if tag == "img" else self.links).append(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


SAME = {"option": "S3", "stage": "gnn", "option_ms": 3.0, "control_ms": 3.1}
SAMPLE = {
    **{"source": "generate", "path": None, "n_events": 100, "first_event": 0, "last_event": 99},
    **{"truth": True, "space_points": {"mean": 1234.4, "min": 100, "max": 2345}},
    **{"r_mm": {"min": 31.5, "max": 1020.25}, "phi_rad": {"min": -3.14, "max": 3.14}},
    **{"z_mm": {"min": None, "max": None}, "particles_mean": 321.2, "matched": 0.9876},
}


@pytest.fixture(scope="module")
def page(physics):
    def page(
        tables,
        figures,
        captions=CAPTIONS,
        provenance=PROVENANCE,
        warnings=(),
        physics=physics,
        sample=SAMPLE,
    ):
        return render(
            tables.summary,
            tables.parts,
            figures,
            captions,
            provenance,
            physics=physics,
            sample=sample,
            blocks=tables.blocks,
            config=CONFIG,
            computing=[SAME],
            unattributed=0.0004,
            warnings=list(warnings),
        )

    return page


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "comparison.png"
    path.write_bytes(b"\x89PNG bytes")
    return path


def facts(text):
    table = text.partition('<table class="sample">')[2].partition("</table>")[0]
    return dict(re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td>', table))


def test_the_sample_is_described(page, tables):
    found = facts(page(tables, {}))
    assert found["Events"] == "100: hnl, generated with seed 20231"
    assert found["Space points of an event"] == "1234 on average, 100 to 2345"
    assert (found["r"], found["z"]) == ("31.5 to 1020 mm", "-")
    assert found["Truth"] == "321 particles of an event; one of them made the space point in 98.8%"


def test_without_truth_there_is_no_tracking_performance(page, tables):
    sample = SAMPLE | {"source": "features", "path": "mine", "truth": False}
    text = page(tables, {}, physics=None, sample=sample)
    assert facts(text)["Events"] == "100: features, from mine"
    assert facts(text)["Truth"] == "not known: tracking performance was not measured"
    assert 'id="tracking"' not in text and 'id="tracking"' in page(tables, {})
    assert Page(text).open == []


def test_the_page_is_well_formed_and_needs_nothing_else(page, tables, image):
    parsed = Page(page(tables, {"comparison": image}))
    assert parsed.open == []
    assert parsed.links == []
    assert parsed.images == [
        "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()
    ]


def test_the_page_holds_results_validity_and_provenance(page, tables, image):
    text = page(tables, {"comparison": image}, warnings=["S3 at concurrency 2: round 2 took"])
    row = tables.summary.iloc[3]
    for expected in [
        "p95 is of 20 or more and p99 of 100 or more",
        f"{row.mean_ms:.2f} [",
        f"{row.cost_ms:+.2f} [{row.cost_low_ms:+.2f}, {row.cost_high_ms:+.2f}]",
        "0.04%",
        "S3 at concurrency 2: round 2 took",
        "git checkout 0123abc",
        "&lt;Fast &amp; Co&gt;",
        "A100",
        f"filter_cut: {CONFIG['pipeline']['filter_cut']}",
    ]:
        assert expected in text


def test_what_ran_where_and_when_stands_above_all_that_is_folded(page, tables, image):
    common = {
        "git_commit": "0123abc-dirty",
        "machine": {"cpu": "EPYC 7763", "cores": 64, "gpu": "A100"},
        "job": {"device": "cuda:0", "server": "2.51.0"},
        "config": {"server": {"launcher": "apptainer"}},
    }
    jobs = {"S1/round1": {"job.began": "2026-11-25T10:00:00+00:00"}}
    provenance = {"common": common, "differs": {}, "jobs": jobs}
    top = page(tables, {"comparison": image}, provenance=provenance).split("<details")[0]
    for fact in [
        *("0123abc-dirty: with uncommitted changes", "EPYC 7763", "<dd>64<", "<dd>A100<"),
        *("<dd>cuda:0<", "<dd>Triton 2.51.0<", "<dd>apptainer<"),
        "<dd>2026-11-25 10:00 to 10:00<",
    ]:
        assert fact in top
    assert "auto" not in re.findall("<dd>(.*?)</dd>", top)


def test_whether_it_is_valid_stands_before_all_that_is_folded(page, tables):
    """On paper what is folded is open, where it stands."""
    text = page(tables, {})
    assert text.index('id="validity"') < text.index("<details")
    assert text.index('id="reproduce"') < text.index("<code>cpu.model</code>")
    assert text.index('id="reproduce"') < text.index("<code>gpu</code>")


def test_the_page_holds_the_tracking_performance_of_every_method(page, tables, image):
    text = page(tables, {"comparison": image})
    row = re.search(r"<td>technical efficiency, A</td>(.*?)</tr>", text, re.DOTALL)[1]
    assert re.findall(r'"n">(.*?)<', row) == ["1.0000 [0.3424, 1.0000]", "0.5000 [0.0945, 0.9055]"]
    row = re.search(r"<td>edge purity after gnn, all particles</td>(.*?)</tr>", text, re.DOTALL)[1]
    assert re.findall(r'"n">(.*?)<', row) == ["1.0000 [0.4385, 1.0000]", "-"]
    row = re.search(r"<td>time per event, mean / ms</td>(.*?)</tr>", text, re.DOTALL)[1]
    assert re.findall(r'"n">(.*?)<', row) == ["4.00", "4.00"]  # no interval of one event
    assert "(double majority)" in text


def test_the_page_says_whether_the_tracks_of_all_options_are_those_that_are_judged(page, tables):
    sentence = "Every option gave the tracks of <code>exatrkx</code>"
    assert sentence in page(tables, {})
    theirs = tables.summary.assign(tracks_identical=tables.summary.option != "S5")
    html = page(tables._replace(summary=theirs), {})
    assert sentence not in html and "<code>exatrkx</code> are not those of S5: the tracks" in html
    assert "Every other option gave the tracks of <code>exatrkx</code>" in html
    html = page(tables._replace(summary=theirs[theirs.option == "S5"]), {})
    assert "are not those of S5" in html and "option gave the tracks" not in html
    bad = tables.summary.copy()
    bad.loc[0, "verdict"] = "invalid"
    html = page(tables._replace(summary=bad), {})
    assert sentence not in html and "number of clients that is not invalid (see above)" in html


def test_the_a_a_row_stands_first(page, tables):
    text = page(tables, {}).split('id="validity"')[1]
    row = tables.summary.iloc[0]
    cost = f"{row.cost_ms:+.2f} [{row.cost_low_ms:+.2f}, {row.cost_high_ms:+.2f}]"
    assert text.index("A/A") < text.index("Valid</th>")
    assert f"<li>1 client: {cost}</li>" in text


@pytest.mark.parametrize(
    ("cost", "said"),
    [
        ((0.2, -0.1, 0.5), ""),
        ((0.2, 0.1, 0.3), ", beyond its interval, within 2.0% of its time"),
        ((-0.2, -0.3, -0.1), ", beyond its interval, within 2.0% of its time"),
        ((2.3, 0.8, 3.8), ", beyond its interval, within chance at 0.999"),
    ],
)
def test_an_a_a_interval_without_zero_is_explained(cost, said):
    numbers = dict(zip(("cost_ms", "cost_low_ms", "cost_high_ms"), cost, strict=True))
    check = a_a_check(make_summary(S0=0).assign(**numbers), 0.02)
    assert check["state"] == "ok" and check["details"] == [
        "1 client: {:+.2f} [{:+.2f}, {:+.2f}]{}".format(*cost, said)
    ]
    assert "more than 2.0% of its time and by more than chance at the level 0.999" in check["text"]


def test_the_page_says_what_happened_on_the_machine(page, tables):
    blocks = tables.blocks.copy()
    chosen = (blocks.option == "S3") & (blocks.concurrency == 2) & (blocks["round"] == 1)
    chosen &= blocks.block < 3
    blocks.loc[chosen, ["others", "disturbed"]] = [0.92, "others"]
    jobs = {"S1/round1": {"job.affinities.client": [0, 1], "job.affinities.gnn (77)": [1]}}
    text = page(tables._replace(blocks=blocks), {}, provenance=PROVENANCE | {"jobs": jobs})
    section = text.split('id="machine"')[1].split("<h2")[0]
    rows = [re.findall(r">([^<]*)</td>", row) for row in section.split("<tr")]
    found = {tuple(row[:2]): row[2:] for row in rows if len(row) > 3}
    others = 0.02 + 0.9 * 3 / 20
    # The test's configuration asks for more undisturbed blocks than there are: all count.
    assert found["S3", "2"][:4] == ["20", "3", "20", f"{others:.2f} (≤ 0.92)"]
    assert found["S0", "1"] == [
        *("20", "0", "20", "0.02 (≤ 0.02)", "0.00 (≤ 0.00)", "0.00 (≤ 0.00)", "12", "2450")
    ]
    assert ["S1/round1", "gnn (77)", "1"] in rows


def test_a_commit_with_changes_on_top_is_not_checked_out(page, tables, image):
    provenance = PROVENANCE | {"common": {"git_commit": "0123abc-dirty"}}
    text = page(tables, {"comparison": image}, provenance=provenance)
    assert "git checkout" not in text
    assert "<pre><code>snakemake --cores all" in text
    assert re.search(r"had uncommitted changes on top of\s+<code>0123abc</code>", text)
    assert "uncommitted" not in page(tables, {"comparison": image})


def test_without_a_commit_nothing_is_checked_out(page, tables, image):
    text = page(tables, {"comparison": image}, provenance=PROVENANCE | {"common": {}})
    assert "git checkout" not in text and "uncommitted" not in text


def test_an_invalid_option_stands_out(page, synthetic, image):
    timings, blocks, reference = synthetic
    timings = timings.copy()
    timings.loc[timings.option == "S4", "labels_sha256"] = "0" * 64
    text = page(make_tables(timings, blocks, reference), {"comparison": image})
    assert "S4 with 1 client: other tracks than the reference" in text
    assert len(re.findall(r"<td[^>]*>invalid</td>", text)) == 3
    assert not re.search(r"\bnan\b", text)


def states(summary, **changes):
    arguments = {"config": CONFIG, "differs": {}, "unattributed": 0.0, "warnings": []}
    arguments |= {"computing": [SAME]} | changes
    return {check["name"]: check["state"] for check in validity(summary, **arguments)}


def test_every_check_can_fail(tables):
    summary = tables.summary
    assert set(states(summary).values()) == {"ok"}
    assert states(summary.assign(verdict="invalid"))["Valid"] == "failed"
    assert states(summary.assign(verdict="invalid"))["A/A"] == "failed"
    assert states(summary[summary.option != "S0"])["A/A"] == "warning"
    assert states(summary.assign(verdict="unstable"))["Stable"] == "warning"
    assert "Same computing" not in states(summary, computing=[])
    slow = SAME | {"option_ms": 1.1, "control_ms": 0.4}
    assert states(summary, computing=[SAME, slow])["Same computing"] == "warning"
    assert states(summary, unattributed=0.03)["Parts add up"] == "warning"
    assert states(summary, warnings=["x"])["Known"] == "warning"
    assert states(summary, differs=PROVENANCE["differs"])["Same set-up"] == "warning"


@pytest.mark.parametrize("name", sorted(CAPTIONS))
def test_every_caption_is_sound(name):
    html = caption_html(CAPTIONS[name], CONFIG)
    assert html.startswith("<p>")
    assert "{{" not in html


def test_captions_follow_the_config():
    config = CONFIG | {"analysis": {"confidence_level": 0.9}}
    assert "90 %" in caption_html(CAPTIONS["comparison"], config)
    methods = {
        "wide": {"radius": 2},
        "mine": {"finder": "mine.py:find", "settings": {"k": 1}},
        "theirs": {"command": ["find", "-v"]},
    }
    config = CONFIG | {"physics": {"methods": methods}}
    html = caption_html(CAPTIONS["efficiency_vs_time"], config)
    text = " ".join(re.sub("<[^>]*>", "", html).split())
    assert "with other settings: wide (radius: 2)." in text
    assert "of one’s own: mine (mine.py:find), theirs (find -v)." in text.replace("'", "’")


def test_problems_are_named(page, tables, image, tmp_path):
    with pytest.raises(ReportError, match="figure 'new': no caption; expected one of"):
        page(tables, {"new": image})
    with pytest.raises(ReportError, match=r"none\.png can't be read: No such file"):
        page(tables, {"comparison": tmp_path / "none.png"})
    for content in ("*open", "{{ snakemake.config['nothing'] }}", "{% if %}"):
        caption = tmp_path / "bad.rst"
        caption.write_text(content)
        with pytest.raises(ReportError, match=r"bad\.rst: "):
            caption_html(caption, CONFIG)


def test_a_model_of_somebody_else_and_what_was_left_out_for_it_are_told(tables):
    config = CONFIG | {"server": CONFIG["server"] | {"model": {"name": "tracks"}}}
    config["options"] = CONFIG["options"] | {"theirs": {"serve": "model"}}
    summary = tables.summary.replace({"option": {"S5": "theirs"}}).assign(same_tracks=0.25)
    checks = {check["name"]: check for check in validity(summary, config, {}, [], 0.0, [])}
    assert checks["Tracks of theirs"]["details"][0] == "theirs with 1 client: 25% of the events"
    assert checks["Tracks of theirs"]["state"] == "warning"
    assert (
        "see server.model.features and server.model.scales"
        in (checks["Tracks of theirs"]["details"][-1])
    )
    many, *_ = their_checks(summary.assign(same_tracks=0.75), config)
    assert many["state"] == "ok" and not any("server.model" in line for line in many["details"])
    assert [line.partition(":")[0] for line in checks["Left out"]["details"]] == [
        *("S1", "S2", "S3", "S4", "S5")
    ]
    assert "Left out" not in {check["name"] for check in validity(summary, CONFIG, {}, [], 0.0, [])}
