"""A few steps on real faces with a published recogniser as teacher, where they are there; see docs/lab_book/real_faces.md."""

import json
import re
import shutil

import pytest
import torch

from insightface_cakd.data.bins import read_bin, write_bin
from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import benchmark, cakd, train
from tests.conftest import ROOT

PEOPLE, PAIRS = 10, 20


def run(*arguments):
    ran = cakd(*arguments)
    assert ran.code == 0, ran.err
    return ran.out


@pytest.fixture(scope="module")
def work(shared_data, tmp_path_factory):
    """Pack some people of lfw_train, take some pairs of lfw_dev.bin, and cache the teacher's embeddings."""
    folder = tmp_path_factory.mktemp("real")
    people = sorted(path for path in (shared_data / "lfw_train").iterdir() if 3 <= len(list(path.iterdir())) <= 6)
    for person in people[:PEOPLE]:
        shutil.copytree(person, folder / "faces" / person.name)
    assert f"images of {PEOPLE} people" in run("data", "pack", folder / "faces", folder / "data")
    images, same = read_bin(shared_data / "lfw_dev.bin")
    chosen = [same.index(kind, 10 * number) for number in range(PAIRS // 2) for kind in (True, False)]
    few = [image for pair in chosen for image in images[2 * pair : 2 * pair + 2]]
    write_bin(folder / "data" / "dev.bin", few, [same[pair] for pair in chosen])
    run("data", "cache-teacher", "onnx", folder / "data", folder / "cache", "--teacher", teacher(shared_data))
    return folder


def teacher(shared_data):
    return shared_data / "models" / "edgeface_xs.onnx"


@pytest.fixture(scope="module")
def students(work, shared_data):
    """Train the same student alone, under the cache and under the live teacher, three steps each."""
    taught = {
        "alone": [],
        "cached": ["--distill", "cached", "--teacher", work / "cache"],
        "live": ["--distill", "onnx", "--teacher", teacher(shared_data)],
    }
    for name, options in taught.items():
        run(*train(work / "data", *options, output=work / name, embedding_size=512))
    return {name: torch.load(work / name / "model.pt", weights_only=True) for name in taught}


def accuracy(text):
    """Return the accuracy in the table's one row."""
    return float(re.search(r"^\| dev .*? ([\d.]+) %", text, re.MULTILINE)[1]) / 100


def test_what_was_packed_is_readable_and_has_the_pictures_of_the_folders(work):
    images = len(list((work / "faces").rglob("*.jpg")))
    assert "every record is readable" in run("data", "check", work / "data")
    assert f"{images} images of {PEOPLE} people" in run("data", "info", work / "data")


def test_the_recogniser_tells_the_people_apart(work, shared_data):
    """EdgeFace XS reaches 99.3 % on the whole set."""
    assert accuracy(run("eval", "bin", teacher(shared_data), work / "data" / "dev.bin")) >= 0.9


def test_every_student_loads_strictly_and_is_measured(students, work):
    for name, state in students.items():
        get_model("cnn_tiny", num_features=512).load_state_dict(state, strict=True)
        measured = json.loads((work / name / "result.json").read_text())
        assert measured["steps"] >= 3
        said = run("eval", "bin", work / name / "model.pt", work / "data" / "dev.bin", "--network", "cnn_tiny")
        assert accuracy(said) == pytest.approx(measured["accuracy"]["dev"], abs=1e-4)


def test_cached_and_live_teacher_give_the_same_student_and_another_than_none(students):
    """The cache holds half precision."""
    weight = "layer1.0.weight"
    alone, cached, live = (students[name][weight] for name in ("alone", "cached", "live"))
    torch.testing.assert_close(cached, live, rtol=1e-2, atol=1e-3)
    assert (alone - live).abs().max() > 10 * (cached - live).abs().max()


def test_a_run_says_which_recogniser_taught_it(students, work):
    live, cached = (json.loads((work / name / "run.json").read_text())["teacher"] for name in ("live", "cached"))
    assert live["name"] == "edgeface_xs.onnx"
    assert cached["name"] == "edgeface_xs.onnx (cached)"
    assert live["sha256"] == cached["sha256"]


PAGE = (ROOT / "docs" / "evidence.md").read_text()
COMMANDS = re.findall(
    r"python -m benchmarks pairs (benchmarks/evidence/\w+) lfw_dev\.bin lfw_dev_all\.bin(?: --against (\w+))?", PAGE
)


def test_the_page_measures_every_folder_of_the_evidence():
    folders = {path.parents[2] for path in (ROOT / "benchmarks" / "evidence").glob("*/*/*/distances.json")}
    assert {ROOT / folder for folder, _ in COMMANDS} == folders


@pytest.mark.parametrize(("folder", "against"), COMMANDS)
def test_the_tables_of_the_evidence_are_what_their_commands_print(shared_data, folder, against):
    sets = [shared_data / name for name in ("lfw_dev.bin", "lfw_dev_all.bin")]
    ran = benchmark("pairs", ROOT / folder, *sets, *(["--against", against] if against else []))
    assert ran.code == 0, ran.err
    assert ran.out[: ran.out.index("95 % intervals")].strip() in PAGE


CURVES = re.findall(
    r"^python -m benchmarks (curve) (benchmarks/evidence/\S+) (docs/pictures/\S+) (.*)$", PAGE, re.MULTILINE
)


def test_the_page_draws_every_curve_of_the_evidence():
    assert {ROOT / folder for _, folder, _, _ in CURVES} == set((ROOT / "benchmarks/evidence/curves").iterdir())


@pytest.mark.parametrize(("command", "folder", "picture", "options"), CURVES)
def test_the_curves_of_the_evidence_are_what_their_commands_draw(command, folder, picture, options, tmp_path):
    ran = benchmark(command, ROOT / folder, tmp_path / "curve.svg", *options.split())
    assert ran.code == 0, ran.err
    assert ran.out.strip() in PAGE
    shape = [
        re.sub(r'd="[^"]*"', "", (path).read_text()).count("<use ") for path in (ROOT / picture, tmp_path / "curve.svg")
    ]
    assert shape[0] == shape[1] > 0


def test_the_lengths_of_the_runs_are_those_of_the_evidence():
    results = (ROOT / "benchmarks" / "evidence" / "cnn_small").glob("*/*/result.json")
    for path in results:
        name, result = path.parent.name, json.loads(path.read_text())
        assert re.search(rf"\| `{name}` \|.*\| {result['steps']:,} \| {round(result['seconds']):,} \|", PAGE), name
