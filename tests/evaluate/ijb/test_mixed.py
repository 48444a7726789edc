"""What one model enrolled under another one's probes: four combinations, their reports, and the cost of keeping a gallery."""

import json

import numpy as np
import pytest

from insightface_cakd.evaluate.ijb.mixed import Case, _cost
from insightface_cakd.evaluate.mixed.mixed import Combination
from tests.commands import cakd, refused
from tests.evaluate.ijb.trees import Projection, write_onnx, write_tree

IMAGES = 48
TITLES = ["old alone", "new alone", "gallery_old_probe_new", "gallery_new_probe_old"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("ijb"), images=IMAGES, pairs=400)


def save(path, rows):
    np.savez(path, embs=rows, embs_f=rows)
    return path


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).standard_normal((IMAGES, 16)).astype(np.float32)


def mixed(root, folder, old, new, *more):
    files = [save(folder / f"{name}.npz", rows) for name, rows in (("old", old), ("new", new))]
    ran = cakd("eval", "ijb", files[1], "--enrolled", files[0], "--root", root, "--out", folder / "out", *more)
    assert ran.code == 0, ran.err
    return ran.out, json.loads((folder / "out" / "mixed.json").read_text())["cases"]


def numbers(case):
    return case["tar"], case["rank"], case["tpir_at_0.01"]


def test_equal_embeddings_have_equal_numbers_in_all_four(root, rows, tmp_path):
    printed, cases = mixed(root, tmp_path, rows, rows)
    assert [(case["gallery"], case["probe"]) for case in cases] == [
        ("old", "old"), ("new", "new"), ("old", "new"), ("new", "old")]  # fmt: skip
    assert all(numbers(case) == numbers(cases[0]) for case in cases)
    assert "keeping the gallery of old under probes of new costs 0.00 points of TAR at FAR 0.01 (" in printed
    assert (tmp_path / "out" / "mixed.md").read_text() == printed


def test_a_turned_space_changes_nothing_alone_and_everything_mixed(root, rows, tmp_path):
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((16, 16)))[0]
    _, cases = mixed(root, tmp_path, rows, rows @ turn)
    alone, turned, kept, reverse = cases
    assert turned["rank"] == alone["rank"]
    assert turned["tar"] == alone["tar"]
    assert kept["tar"] != alone["tar"] != reverse["tar"]


def test_each_combination_has_the_whole_report(root, rows, tmp_path):
    new = rows + 0.5 * np.random.default_rng(2).standard_normal(rows.shape).astype(np.float32)
    _, cases = mixed(root, tmp_path, rows, new, "--mode", "N1D1F1,N0D0F0")
    for place, title in enumerate(TITLES):
        report = json.loads((tmp_path / "out" / title.replace(" ", "_") / "report.json").read_text())
        for case, mode in zip(cases[2 * place : 2 * place + 2], report["modes"], strict=True):
            assert case["mode"] == mode["mode"]
            assert list(case["tar"].values()) == list(mode["verification"]["tar_strict"].values())


def test_both_models_alone_are_what_they_are_without_the_other(root, rows, tmp_path):
    new = np.roll(rows, 3, axis=1)
    mixed(root, tmp_path, rows, new)
    ran = cakd("eval", "ijb", tmp_path / "new.npz", "--root", root, "--out", tmp_path / "single")
    assert ran.code == 0, ran.err
    files = [tmp_path / "single" / "scores_N1D1F1.npy", tmp_path / "out" / "new_alone" / "scores_N1D1F1.npy"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_corrupt_images_are_named(tmp_path):
    tree = write_tree(tmp_path / "tree", images=IMAGES, pairs=400)
    (tree / "IJBC" / "loose_crop" / "9.jpg").write_bytes(b"")
    old, new = (write_onnx(tmp_path / f"{name}.onnx", Projection()) for name in ("old", "new"))
    ran = cakd("eval", "ijb", new, "--enrolled", old, "--root", tree, "--out", tmp_path / "out", "--max-corrupt", 1)
    assert ran.code == 0, ran.err
    assert "1 corrupt images were left out: 9.jpg." in ran.out
    for report in ("mixed.json", *(f"{title.replace(' ', '_')}/report.json" for title in TITLES)):
        assert json.loads((tmp_path / "out" / report).read_text())["corrupt"] == {"9.jpg": "it has 0 bytes"}


def test_embeddings_of_two_widths(root, rows, tmp_path):
    files = [save(tmp_path / "old.npz", rows[:, :8]), save(tmp_path / "new.npz", rows)]
    message = r".*old gives 8 numbers a face, new 16; expected equal widths. Train the student with embedding_size=8"
    refused(
        ["eval", "ijb", files[1], "--enrolled", files[0], "--root", root, "--out", tmp_path / "out"], message, tmp_path
    )


def test_two_models_of_one_name(root, rows, tmp_path):
    (tmp_path / "other").mkdir()
    files = [save(tmp_path / "new.npz", rows), save(tmp_path / "other" / "new.npz", rows)]
    message = r".*both models are named new; expected two names"
    refused(
        ["eval", "ijb", files[1], "--enrolled", files[0], "--root", root, "--out", tmp_path / "out"], message, tmp_path
    )


def test_a_set_that_supports_no_number_gets_none():
    alone, kept = (Case(Combination(old, "new"), "N1D1F1", {1e-4: None}, {}, None, 3, 5, ()) for old in ("new", "old"))
    assert _cost(alone, kept).startswith("N1D1F1: the set supports no number by which to tell the cost")


def test_the_report_says_what_was_measured_and_why_a_number_is_absent(root, rows, tmp_path):
    printed, cases = mixed(root, tmp_path, rows, rows, "--mode", "N1D1F1,N0D0F0")
    report = json.loads((tmp_path / "out" / "old_alone" / "report.json").read_text())
    pairs = report["modes"][0]["verification"]
    same, different = pairs["same"], pairs["different"]
    strangers = [gallery["without_mate"] for gallery in report["modes"][0]["identification"]["galleries"]]
    assert cases[0]["tar"]["1e-06"] is cases[0]["tpir_at_0.01"] is None
    for line in (
        "Conventions of eval_ijbc: input unknown (as saved).",
        "N1D1F1: norm kept, weighted by detector score, with mirror image.",
        "N0D0F0: norm removed, not weighted, without mirror image.",
        f"In percent, of {same} same and {different} different pairs; strict: the false accept rate is never above the "
        "one asked for.",
        f"-: {different} different pairs support no FAR below {1 / different:.2g}.",
        f"-: {strangers[0]} and {strangers[1]} probes without a mate support no FPIR below {1 / min(strangers):.2g}.",
    ):
        assert line in printed.splitlines()
