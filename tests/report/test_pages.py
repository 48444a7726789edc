"""Every kind of page in a real browser: nothing fails, sticks out, or keeps readers out, by day and by night.

CAKD_SCREENSHOTS names a folder in which the screenshots stay.
"""

import ast
from pathlib import Path

import pytest

import insightface_cakd
from insightface_cakd.quickstart.known import IDENTIFICATION, QUICKSTARTS
from tests.report.browser import complaints, folder_for_screenshots, open_browser
from tests.report.pages import result_kinds
from tests.report.quickstart_pages import AllSamples

PACKAGE = Path(insightface_cakd.__file__).parent
KINDS = [*sorted(result_kinds(), key=lambda kind: kind.__name__), IDENTIFICATION, *QUICKSTARTS]


def name_of(kind):
    return f"quickstart_{kind}" if isinstance(kind, str) else kind.__name__


@pytest.fixture(scope="session")
def samples(tmp_path_factory):
    return AllSamples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="session")
def shots(tmp_path_factory):
    return folder_for_screenshots(tmp_path_factory.mktemp("screenshots"))


@pytest.fixture(scope="session")
def browser():
    with open_browser() as opened:
        yield opened


def test_every_kind_of_page_has_a_sample(samples):
    assert samples.results().keys() == result_kinds()
    assert samples.quickstarts().keys() == {IDENTIFICATION, *QUICKSTARTS}


def test_pages_are_written_for_results_and_for_quickstarts_and_nothing_else():
    """Whoever writes pages elsewhere adds a kind that the tests here do not know of."""
    callers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("write_report", "write_result")
    }
    results = {"cli/protocols.py", "evaluate/compare/run.py", "report/run_report.py"}
    assert callers == results | {"quickstart/stage.py"}


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
@pytest.mark.slow
def test_a_page_is_sound_in_a_browser(kind, samples, browser, shots, tmp_path):
    page = samples.write(kind, tmp_path / f"{name_of(kind)}.html")
    text = page.read_text(encoding="utf-8")
    assert '<html lang="en">' in text
    assert '<p class="verdict">' in text, "a sentence that answers"
    assert complaints(browser, page, shots) == []
    assert (shots / f"{page.stem}_420_dark.jpg").stat().st_size > 1000


@pytest.mark.slow
def test_the_browser_finds_what_is_wrong(browser, tmp_path):
    """A page with one fault of each kind."""
    page = tmp_path / "bad.html"
    page.write_text(
        '<!doctype html><title>t</title><body><p style="color: #eee; background: #fff">pale</p><div style="width: 900px">wide</div>'
        '<img src="missing.png"><script>console.error("said"); undefined.thing</script>'
    )
    found = complaints(browser, page, tmp_path)
    for fault in (
        "console: said",
        "error: Cannot read properties of undefined",
        "420 px, light: the page is",
        "420 px, dark: sticks out: <div",
        "light: color-contrast (serious)",
        "light: image-alt (critical)",
        "light: html-has-lang (serious)",
    ):
        assert any(fault in one for one in found), f"{fault}: {found}"
    assert not any("1280 px, light: the page" in one for one in found)
