"""A headless Chromium that looks at pages: what it complains about, what sticks out, what keeps readers out."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WIDTHS = (420, 800, 1280)
SCHEMES = ("light", "dark")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# What is cut off: an element that is wider than its box and does not scroll by itself.
STICKS_OUT = """() => [...document.querySelectorAll("body *")]
    .filter(one => !one.closest(".wide, pre, svg") && one.getBoundingClientRect().right > innerWidth + 0.5)
    .map(one => one.outerHTML.slice(0, 100))"""


def find_chromium() -> str:
    """Return the path of an installed Chromium; skip where there is none."""
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no {' or '.join(CHROMIUM)} on PATH: pages are not looked at; install Debian's chromium")
    return found


@contextmanager
def open_browser() -> Iterator[object]:
    """Yield a browser that is open; skip without the driver or the browser."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pages are not looked at")
    path = find_chromium()
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


def complaints(browser, page: Path, shots: Path) -> list[str]:
    """Return what is wrong with a page at each width and in each colour scheme; keep screenshots.

    Args:
        browser: open.
        page: a file.
        shots: folder of the screenshots.
    """
    from axe_playwright_python.sync_playwright import Axe

    found: list[str] = []
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900})
    sheet = context.new_page()
    sheet.on("console", lambda message: found.append(f"console: {message.text}") if message.type == "error" else None)
    sheet.on("pageerror", lambda error: found.append(f"error: {error}"))
    sheet.on("request", lambda one: found.append(f"fetches {one.url[:80]}") if one.url[:4] == "http" else None)
    sheet.goto(page.resolve().as_uri())
    for scheme in SCHEMES:
        sheet.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            sheet.set_viewport_size({"width": width, "height": 900})
            where = f"{width} px, {scheme}"
            wide = sheet.evaluate("document.documentElement.scrollWidth")
            found += [f"{where}: the page is {wide} px wide"] if wide > width else []
            found += [f"{where}: sticks out: {one}" for one in sheet.evaluate(STICKS_OUT)]
            if width != WIDTHS[1]:
                sheet.screenshot(path=shots / f"{page.stem}_{width}_{scheme}.jpg", full_page=True, quality=85)
        # What it finds hardly depends on the width, and on the scheme in its colours alone.
        rules = {} if scheme == SCHEMES[0] else {"runOnly": ["color-contrast"]}
        barriers = Axe().run(sheet, options={"resultTypes": ["violations"], **rules}).response["violations"]
        found += [
            f"{scheme}: {one['id']} ({one['impact']}): {one['nodes'][0]['html'][:160]}"
            for one in barriers
            if one["impact"] in ("serious", "critical")
        ]
    context.close()
    return found


def folder_for_screenshots(otherwise: Path) -> Path:
    """Return the folder that CAKD_SCREENSHOTS names, else another one; make it."""
    folder = Path(os.environ.get("CAKD_SCREENSHOTS") or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
