"""README.md is short, shows two pictures, and leads to every part of the documentation."""

import json
import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "README.md").read_text("utf-8")
PICTURES = re.findall(r"^!\[([^\]]+)\]\(([^)]+)\)$", PAGE, re.MULTILINE)


def test_it_has_at_most_150_lines():
    assert len(PAGE.splitlines()) <= 150


def test_its_two_pictures_are_there_small_and_described():
    assert [name for _, name in PICTURES] == ["docs/pictures/result.svg", "docs/pictures/fields.png"]
    for text, name in PICTURES:
        assert len(text) > 40
        assert 1_000 < (ROOT / name).stat().st_size < 400_000


def test_the_picture_of_the_result_has_the_numbers_of_the_runs():
    picture = (ROOT / "docs/pictures/result.svg").read_text("utf-8")
    for name in ("three_seeds/*/alone", "cnn_small/*/labelled", "three_seeds/*/both"):
        runs = [json.loads(path.read_text("utf-8")) for path in ROOT.glob(f"benchmarks/evidence/{name}/result.json")]
        for dev in ("lfw_dev", "lfw_dev_all"):
            assert f">{100 * np.mean([run['accuracy'][dev] for run in runs]):.1f}</text>" in picture


def test_the_quickstart_prints_one_gain_and_it_stands_in_one_place():
    (table,) = re.findall(r"^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    _, alone, taught, gain = re.findall(r"\| +([+\d.]+) (?:%|points) \|", table)
    assert float(gain) == round(float(taught) - float(alone), 2)
    others = [path for path in ROOT.glob("docs/*.md") if f"{taught} %" in path.read_text("utf-8")]
    assert others == []


def test_it_leads_to_every_page_that_is_no_part_of_a_folder_or_system():
    named = set(re.findall(r"\]\((docs/\w+\.md)[#)]", PAGE))
    pages = {f"docs/{path.name}" for path in ROOT.glob("docs/*.md")}
    assert pages - named == set()
