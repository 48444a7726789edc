"""`cakd eval bin`, `mixed`, `identify` and `compare`: what they print and write, and what they refuse."""

import json
import re

import numpy as np
import pytest
import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.networks.models import load_onnx
from tests.cli.evaluation_files import write_evaluation_files
from tests.commands import cakd, refused
from tests.evaluate.verification_files import write_set
from tests.networks.onnx_models import batch_inside, channel_means
from tests.report.test_run_report import Page


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with two sets, two recognisers of three numbers, and people."""
    monkeypatch.chdir(tmp_path)
    write_evaluation_files(tmp_path)
    return tmp_path


def cells(text):
    """Return the printed tables' rows as lists of cells, rules left out."""
    lines = [line for line in text.splitlines() if line.startswith("|") and not set(line) <= set("|-: ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_bin_measures_a_folder_and_writes_json(here):
    ran = cakd("eval", "bin", "old.onnx", "sets", "--device", "cpu", "--json", "numbers.json")
    assert ran.code == 0, ran.err
    assert [row[0] for row in cells(ran.out)] == ["set", "a", "b"]
    numbers = json.loads((here / "numbers.json").read_text())
    expected = verify(load_onnx(here / "old.onnx", torch.device("cpu")), load_bin(here / "sets" / "b.bin"))
    assert numbers[1]["accuracy"] == pytest.approx(expected.accuracy)
    assert cells(ran.out)[2][2] == f"{100 * expected.accuracy:.2f} %"
    assert "percentile bootstrap, 1000 resamples" in ran.out
    assert "People are drawn, and their pairs with them" in ran.out
    assert "10 impostor pairs support no FAR below 0.1" in ran.out


def test_bin_measures_variants(here):
    ran = cakd("eval", "bin", "old.onnx", "sets/a.bin", "--variant", "masked", "--variant", "plain", "--on", "both")
    assert ran.code == 0, ran.err
    assert [row[1] for row in cells(ran.out)] == ["variant", "masked", "plain"]


def test_mixed_ends_with_the_drop(here):
    ran = cakd("eval", "mixed", "old.onnx", "new.onnx", "sets", "--people", "people", "--json", "mixed.json")
    assert ran.code == 0, ran.err
    assert len(cells(ran.out)) == 1 + 8 + 1 + 4
    for name in ("a", "b", "people"):
        assert f"{name}: keeping the gallery of old under probes of new costs 0.00 points" in ran.out
    numbers = json.loads((here / "mixed.json").read_text())
    assert [one["loss"] for one in numbers["sets"]] == [0, 0]
    assert numbers["people"]["enrolled"] == 2


def test_identify(here):
    ran = cakd("eval", "identify", "old.onnx", "people", "others", "--json", "found.json", "--batch", "3")
    assert ran.code == 0, ran.err
    found = json.loads((here / "found.json").read_text())
    assert (found["people"], found["pairs"]) == (2, 8)
    assert [row[0] for row in cells(ran.out)] == ["distractors", str(found["rank1"][-1]["distractors"])]


def test_compare_writes_a_page_that_needs_no_other_file(here):
    arguments = ["old.onnx", "again=new.onnx", "--sets", "sets", "--variant", "plain", "--variant", "lowres:14"]
    ran = cakd("eval", "compare", *arguments, "--out", "cmp", "--baseline", "again")
    assert ran.code == 0, ran.err
    assert {path.name for path in (here / "cmp").iterdir()} == {"compare.html", "compare.md", "compare.json"}
    page = (here / "cmp" / "compare.html").read_text()
    shown = Page(page)
    assert shown.open == []
    assert not {"script", "link", "iframe"} & set(shown.tags)
    assert not re.findall(r'(?:src|href)="(?!#|data:image/jpeg;base64,)[^"]*"', page)
    assert shown.tags.count("svg") == 2  # of two costs; the sets are too small for curves
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "old against again, the same 50 pairs, mean over 4 variants: +0.00 points [+0.00, +0.00]" in shown.text
    text = (here / "cmp" / "compare.md").read_text()
    assert text in ran.out
    assert "a, lowres:14" in text
    numbers = json.loads((here / "cmp" / "compare.json").read_text())
    assert numbers["baseline"] == "again"
    assert numbers["models"]["old"]["against_baseline"]["p_mcnemar_exact"] == 1.0
    assert numbers["models"]["old"]["milliseconds"]["rounds"] >= 3


def test_numbers_do_not_depend_on_the_batch(here):
    for batch in (1, 7, 64):
        assert cakd("eval", "bin", "old.onnx", "sets", "--json", f"{batch}.json", "--batch", batch).code == 0
    texts = [json.loads((here / f"{batch}.json").read_text()) for batch in (1, 7, 64)]
    for one in texts[1:]:
        assert [found["accuracy"] for found in one] == [found["accuracy"] for found in texts[0]]
        np.testing.assert_allclose([found["xnorm"] for found in one], [found["xnorm"] for found in texts[0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bin", "old.onnx", "sets", "--variant", "mask"], r"--variant mask: unknown; .* Did you mean 'masked'\?"),
        (["bin", "old.onnx", "people"], r"people: a folder without \.bin files; expected verification sets"),
        (["bin", "wide.onnx", "sets"], r"wide\.onnx: takes images of 128x128.* hold faces of 112x112"),
        (["bin", "old.onnx", "same.bin"], r"same\.bin: 20 same and 0 different pairs; expected both kinds"),
        (
            ["mixed", "old.onnx", "floor.onnx", "sets"],
            r"mixed enrolment: old gives 3 numbers a face, floor 37632; expected eq",
        ),
        (
            ["mixed", "old.onnx", "old.onnx", "sets"],
            r"old\.onnx: another model is called old; expected different names",
        ),
        (["identify", "old.onnx", "people", "nowhere"], r"nowhere: no such folder; expected faces of strangers"),
        (["identify", "old.onnx", "sets", "others"], r"sets: no subfolder holds images; expected one subfolder"),
        (["compare", "old.onnx", "--sets", "sets"], r"compare: one model; expected at least two"),
        (["compare", "old.onnx", "new.onnx", "--sets", "no.bin"], r"no\.bin: cannot be read"),
        (
            ["compare", "old.onnx", "new.onnx", "--sets", "sets", "--baseline", "od"],
            r"--baseline od: no such model; expected one of old, new\. Did you mean 'old'\?",
        ),
        (
            ["compare", "old.onnx", "half.onnx", "--sets", "sets"],
            r"half\.onnx: cannot be read .* expected an ONNX model",
        ),
    ],
)
def test_what_is_refused(arguments, message, here):
    channel_means(here / "wide.onnx", side=128)
    write_set(here / "same.bin", same=[True] * 20)
    batch_inside(here / "floor.onnx", 1)
    (here / "half.onnx").write_bytes((here / "old.onnx").read_bytes()[:40])
    more = ["--batch", "1"] if "floor.onnx" in arguments else []
    refused(["eval", *arguments, *more], message, here)
