"""The site that MkDocs makes of the pages: built without a warning, whole, and readable without a network."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

pytest.importorskip("mkdocs", reason="mkdocs-material is not installed: pip install -e '.[docs]'")

from docs.generator.site import pages

ROOT = Path(__file__).resolve().parent.parent
# By which attribute a tag loads something; a link of the text only leads there.
LOADS = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "object": "data",
    "embed": "src",
}
ELSEWHERE = re.compile(r"(?:[a-z+]+:)?//|[a-z]+:")


class Page(HTMLParser):
    """What a page of the site loads, where it leads, which places it has, and what it says outside of code."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.leads, self.places, self.navigation, self.text = [], [], set(), [], []
        self.open = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.open.append(tag)
        if tag in LOADS and found.get(LOADS[tag]) and found.get("rel") not in ("prev", "next", "canonical"):
            self.loads.append(found[LOADS[tag]])
        if tag == "a" and "href" in found:
            self.leads.append(found["href"])
            if "nav" in self.open:
                self.navigation.append(found["href"])
        if "id" in found:
            self.places.add(found["id"])

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"code", "pre", "script", "style"} & set(self.open):
            self.text.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, and its pages by their paths."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder, {path: Page(path) for path in folder.rglob("*.html")}


def of_page(folder, name):
    """Return the file that the site has for a page."""
    path = Path(name).with_suffix(".html")
    return folder / (path.with_name("index.html") if path.stem == "README" else path)


def test_every_page_is_on_the_site_and_in_its_navigation(site):
    folder, built = site
    home = folder / "index.html"
    named = {(folder / urldefrag(link)[0]).resolve() for link in built[home].navigation} | {home}
    assert {"README.md", "recipes/README.md", "docs/recipes.md", "CONTRIBUTING.md"} <= set(pages())
    assert [name for name in pages() if of_page(folder, name) not in named] == []


def test_every_link_leads_to_a_file_and_to_a_place_in_it(site):
    _, built = site
    faults, counted = [], 0
    for path, page in built.items():
        # The page of errors has links from the root of a server.
        if path.name == "404.html":
            continue
        for link in page.leads:
            name, place = urldefrag(link)
            if ELSEWHERE.match(link):
                continue
            counted += 1
            target = (path.parent / unquote(name)).resolve() if name else path
            if target.suffix == ".html" and target in built:
                there = not place or place in built[target].places
            else:
                there = target.is_file()
            if not there:
                faults.append(f"{path.name}: {link}")
    assert counted > 500
    assert not faults, "\n".join(faults)


def test_nothing_is_loaded_from_a_network(site):
    folder, built = site
    assert [f"{path.name}: {one}" for path, page in built.items() for one in page.loads if ELSEWHERE.match(one)] == []
    assert sum(len(page.loads) for page in built.values()) > len(built)
    styles = [*folder.rglob("*.css")]
    assert styles
    loaded = [
        one for path in styles for one in re.findall(r"""(?:url\(|@import )["']?([^"')]+)""", path.read_text("utf-8"))
    ]
    assert [one for one in loaded if ELSEWHERE.match(one) and not one.startswith("data:")] == []


def test_no_mark_of_a_list_or_a_table_is_left_in_the_text(site):
    """Readers of GitHub and MkDocs differ: here a list begins after an empty line."""
    _, built = site
    faults = [
        f"{path.name}: {line[:80]}"
        for path, page in built.items()
        for line in "".join(page.text).splitlines()
        if re.match(r"\s*(?:[*] |[|] ?[\w-]|#{1,6} )", line)
    ]
    assert not faults, "\n".join(faults)
