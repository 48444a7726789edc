"""A hook of MkDocs: the site has the layout of the repository.

So a link between two pages is the same on the site and in the repository, and no page lies in two places.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

# MkDocs loads this file by its path, outside of its package.
ROOT = Path(__file__).resolve().parents[2]
PAGES = ("*.md", "recipes/*.md", "patches/*.md", "examples/*.md", "docs/**/*.md")
# What pages link to or show.
LINKED = ("LICENSE", "patches/UPSTREAM", "recipes/*.yaml", "examples/*.*", "docs/**/*.svg", "docs/**/*.png")
FIRST = "README.md"


def pages() -> list[str]:
    """Return every page of the site by its path in the repository."""
    return sorted(name for pattern in PAGES for name in _found(pattern))


def _found(pattern: str) -> Iterator[str]:
    return (path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern) if path.is_file())


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every page of a folder where the navigation names the folder."""
    config.nav = _unfolded(config.nav)
    return config


def _unfolded(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {title: _unfolded(below) for title, below in entry.items()}
    if isinstance(entry, list):
        return [_unfolded(one) for one in entry]
    if entry.endswith("/"):
        return sorted((name for name in pages() if name.startswith(entry)), key=lambda name: (FIRST not in name, name))
    return entry


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the theme's files and those of the repository, at their own paths."""
    kept = [file for file in files if file.src_dir != config.docs_dir]
    names = dict.fromkeys([*pages(), *(name for pattern in LINKED for name in _found(pattern))])
    return Files([*kept, *(File.generated(config, name, abs_src_path=str(ROOT / name)) for name in names)])
