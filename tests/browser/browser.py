"""A browser that prints a page to PDF, and what is in the PDF then."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from html.parser import HTMLParser
from pathlib import Path

PACKAGES = ("chromium", "poppler-utils")  # of Debian
PROGRAMS = ("chromium", "pdftotext", "pdfimages")
# It prints one page of ours: nothing of it needs a sandbox, a GPU, the net or a profile.
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run", "--no-pdf-header-footer"),
)
TIMEOUT_S = 120
SEPARATE = ("td", "th", "li", "p", "pre", "summary", "h1", "h2", "dt", "dd")


def problem() -> str | None:
    """What keeps the tests in a browser from running on this machine; None if nothing does."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"no program {missing[0]}; install {' '.join(PACKAGES)}" if missing else None


def print_to_pdf(page: Path, pdf: Path) -> Path:
    """Prints a page as a user would with an empty profile; gives the PDF."""
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            ["chromium", *OPTIONS, f"--user-data-dir={profile}", f"--print-to-pdf={pdf}", page],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    assert pdf.exists(), done.stderr
    return pdf


def pdf_words(pdf: Path) -> list[str]:
    """The words that lie on the pages, in the order of reading."""
    done = subprocess.run(["pdftotext", pdf, "-"], capture_output=True, text=True, check=True)
    return done.stdout.split()


def pages_of_images(pdf: Path) -> dict[str, list[int]]:
    """The pages on which each image is, by its number in the PDF."""
    done = subprocess.run(["pdfimages", "-list", pdf], capture_output=True, text=True, check=True)
    pages: dict[str, list[int]] = {}
    for line in done.stdout.splitlines()[2:]:
        page, _, kind, *_, number, _, _, _, _, _ = line.split()
        if kind == "image":
            pages.setdefault(number, []).append(int(page))
    return pages


class Texts(HTMLParser):
    """The text of elements of a page.

    Attributes:
        sections: of each ``details``.
        tables: of each table its rows, each a list of cells, by the heading above it.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self._open: list[str] = []
        self._heading = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag in ("img", "meta", "br"):
            return
        self._open.append(tag)
        if tag == "details":
            self.sections.append("")
        if tag == "h2":
            self._heading = ""
        if tag == "tr":
            self.tables.setdefault(self._heading, []).append([])
        if tag in ("td", "th"):
            self.tables[self._heading][-1].append("")
        elif tag in SEPARATE and "td" in self._open:
            self.handle_data(" ")

    def handle_endtag(self, tag):
        self._open.pop()
        if "details" in self._open and tag in SEPARATE:
            self.sections[-1] += " "

    def handle_data(self, data):
        if "details" in self._open:
            self.sections[-1] += data
        if "h2" in self._open:
            self._heading += data
        if "td" in self._open or "th" in self._open:
            cells = self.tables[self._heading][-1]
            cells[-1] = re.sub(r"\s+", " ", cells[-1] + data)
