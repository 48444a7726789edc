"""Writes the pages that come from the code: `python -m docs.generator`, or `make pages`."""

from docs.generator import ROOT
from docs.generator.written import written_pages


def main() -> None:
    """Write each page."""
    for name, text in written_pages().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(name)


if __name__ == "__main__":
    main()
