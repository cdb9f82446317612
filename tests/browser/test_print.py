"""The report of a real run, printed: nothing of it is lost on the way to paper."""

from collections import Counter

import pytest
from browser import Texts, pages_of_images, pdf_words, print_to_pdf, problem

PAPERS = ("letter", "A4")


@pytest.fixture(scope="module")
def report(request):
    """The report's file."""
    if reason := problem():
        pytest.skip(reason)
    return request.getfixturevalue("first_smoke").folder / "results" / "smoke" / "report.html"


@pytest.fixture(scope="module")
def texts(report):
    return Texts(report.read_text())


@pytest.fixture(scope="module", params=PAPERS)
def pdf(request, report, tmp_path_factory):
    """The report on paper of one size."""
    page = tmp_path_factory.mktemp(request.param) / "report.html"
    size = f"<style>@page {{ size: {request.param}; }}</style></head>"
    page.write_text(report.read_text().replace("</head>", size))
    return print_to_pdf(page, page.with_suffix(".pdf"))


def test_the_summary_has_all_its_columns(pdf, texts):
    headings, *rows = texts.tables["Summary"]
    words = pdf_words(pdf)
    begin = words.index("Summary")
    on_paper = words[begin : words.index("Tracking", begin)]
    assert headings[2] == "Verdict" and len(rows) == 12
    for heading in headings:
        assert set(heading.split()) <= set(on_paper), heading
    cells = Counter(row[2] for row in rows)
    assert {cell: on_paper.count(cell) for cell in cells} == cells


def test_every_table_has_all_its_columns(pdf, texts):
    words = set(pdf_words(pdf))
    for heading, rows in texts.tables.items():
        for row in rows:
            assert set(row[-1].split()) <= words, f"{heading}: {row}"


def test_what_is_folded_is_open_on_paper(pdf, texts):
    words = set(pdf_words(pdf))
    assert len(texts.sections) >= 4
    for section in texts.sections:
        assert len(section.split()) > 30
        assert set(section.split()) <= words


def test_whether_it_is_valid_comes_before_all_that_was_recorded(pdf):
    text = " ".join(pdf_words(pdf))
    assert text.index("Is it valid?") < text.index("Versions, machine and configuration (")


def test_no_figure_is_split(pdf, report):
    pages = pages_of_images(pdf)
    assert len(pages) == report.read_text().count("<figure")
    assert {number: len(on) for number, on in pages.items()} == dict.fromkeys(pages, 1)
