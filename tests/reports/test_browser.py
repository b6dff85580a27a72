"""The page in a real browser, opened from disk with the network off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.records.ledger_records import Provenance
from tests.reports.browser import CHROMIUM, Browser
from tests.reports.ledgers import mini_suite, read, write_run
from tests.reports.pages import build_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)"),
]

HOSTILE = '"><script>window.broken=1</script><img src=x onerror="window.broken=2">'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with Browser() as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it: several strategies, misses, a failed and an unfinished run."""
    folder = tmp_path_factory.mktemp("report")
    logs = read(mini_suite(folder / "runs"))
    return build_report(logs, folder / "out", title="A report", baseline="grpo", target={"share_of_gain": 0.9})


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labels, messages, settings and titles that try to run."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = [write_run(folder, label, s, combination=HOSTILE, warnings=[HOSTILE]) for label in ("grpo", HOSTILE) for s in (1, 2, 3)]
    paths += [write_run(folder, "grpo", s, combination=f"{HOSTILE} on verl", task=HOSTILE, backend=HOSTILE) for s in (1, 2, 3)]
    paths.append(write_run(folder, HOSTILE, 4, combination=HOSTILE, state="failed", failure=HOSTILE, steps=8))
    logs = read(paths)
    for log in logs:
        log.spec["strategy"]["config"] = {HOSTILE: HOSTILE}
        log.attempts[-1].environment["cpu"] = HOSTILE
        log.provenance = Provenance(
            HOSTILE,
            model={"name": HOSTILE, "commit": f"{log.spec['seed']}{HOSTILE}"},
            questions={HOSTILE: {"questions": 3, "hash": f"{log.spec['seed']}{HOSTILE}"}},
            sources={HOSTILE: {"hub": HOSTILE, "revision": HOSTILE}},
        )
    target = {"share_of_gain": 0.9}
    return build_report(logs, folder / "out", title=HOSTILE, baseline="grpo", target=target, description=HOSTILE)


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_page_is_quiet_and_fits(browser: Browser, page: Path, width: int, dark: bool) -> None:
    """No console message, no request but the page itself, nothing wider than the window, every figure visible."""
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(page, width=width, dark=dark)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    figures = browser.evaluate("Array.from(document.querySelectorAll('figure svg')).map(s => s.getBoundingClientRect().height)")
    assert len(figures) >= 8
    assert min(figures) > 80
    assert browser.complaints == []
    assert [u for u in browser.requests if not u.startswith("data:")] == [page.resolve().as_uri()]


def test_dark_and_light_text_can_be_read(browser: Browser, page: Path) -> None:
    """Contrast of body text and of figure text is at least 7 : 1 in both schemes."""
    script = """(() => {
      const lum = (c) => { const v = c.match(/[\\d.]+/g).slice(0, 3).map((x) => { x /= 255; return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4; });
        return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
      const back = lum(getComputedStyle(document.body).backgroundColor);
      return ['body', 'figure svg text', 'td.num'].map((s) => { const e = document.querySelector(s); const st = getComputedStyle(e);
        const c = lum(s.endsWith('text') ? st.fill : st.color); return (Math.max(c, back) + 0.05) / (Math.min(c, back) + 0.05); });
    })()"""  # noqa: E501
    for dark in (False, True):
        browser.open(page, dark=dark)
        assert min(browser.evaluate(script)) >= 7, f"dark={dark}"


def test_tables_sort_by_keyboard(browser: Browser, page: Path) -> None:
    """Focus a column's button, press Enter: ascending; press Space: descending; the head says so to screen readers."""
    browser.open(page)
    column = "document.querySelector('#c1 table.sortable')"
    values = f"Array.from({column}.tBodies[0].rows).map(r => Number(r.cells[5].dataset.sort))"
    browser.evaluate(f"{column}.tHead.rows[0].cells[5].querySelector('button').focus()")
    browser.press("Enter")
    ascending = browser.evaluate(values)
    assert ascending == sorted(ascending)
    assert browser.evaluate(f"{column}.tHead.rows[0].cells[5].getAttribute('aria-sort')") == "ascending"
    browser.press(" ")
    assert browser.evaluate(values) == sorted(ascending, reverse=True)


def test_hostile_records_are_inert(browser: Browser, hostile_page: Path) -> None:
    """Nothing in a record becomes markup: no script ran, no element was made, nothing was requested."""
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(hostile_page)
    assert browser.evaluate("typeof window.broken") == "undefined"
    assert browser.evaluate("document.querySelectorAll('img, script').length") == 1  # the page's own script
    assert browser.evaluate("document.querySelector('h1').textContent") == HOSTILE
    assert browser.complaints == []
    assert [u for u in browser.requests if not u.startswith("data:")] == [hostile_page.resolve().as_uri()]
    browser.open(hostile_page, width=390)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_every_figure_has_a_title_and_a_description(browser: Browser, page: Path) -> None:
    """Text alternatives, with ids that exist once on the page."""
    browser.open(page)
    script = """Array.from(document.querySelectorAll('figure svg')).every((s) => s.getAttribute('role') === 'img' &&
      s.getAttribute('aria-labelledby').split(' ').every((id) => document.getElementById(id).textContent.length > 5))"""
    assert browser.evaluate(script)
    ids = browser.evaluate("Array.from(document.querySelectorAll('[id]')).map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_page_prints(browser: Browser, page: Path, tmp_path: Path) -> None:
    """A PDF of a few pages comes out."""
    browser.open(page)
    browser.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF-")
