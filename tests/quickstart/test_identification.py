"""The whole job in small: data, three trainings, export, report, and the table that compares them."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import onnx
import pytest
import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.faces import write_face_set
from insightface_cakd.data.faces.sets import draw_folders
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.errors import RunError
from insightface_cakd.evaluate.compare.comparison import Difference
from insightface_cakd.evaluate.compare.summary import RunComparison
from insightface_cakd.evaluate.pairs.bootstrap import Interval, Paired
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.train_v2 import RunResult
from insightface_cakd.quickstart import identification as quickstart
from insightface_cakd.quickstart import stage as shared
from insightface_cakd.report.result import Section
from insightface_cakd.runtime.run_folder import RunFolder
from tests.cakd_runs import write_cakd
from tests.commands import cakd, contents, refused

JOB = """
from insightface_cakd.hosts.embedded.configs import {name} as job

config = dict(job.config, batch_size=8, num_epoch=1, warmup_epoch=0, num_workers=0, embedding_size=64, frequent=1, device="cpu")
"""
RECIPE = """
teacher: {network: vit_tiny, check: {bin: dev.bin, floor: 0.01}}
losses: [{loss: cosine, weight: 64}]
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """Make the quickstart small: few people, one epoch, no demand on the teacher. Return an empty folder to work in."""
    for stage in ("TEACHER", "ALONE", "DISTILLED"):
        full = getattr(quickstart, stage)
        job = tmp_path / f"{full.config}.py"
        job.write_text(JOB.format(name=full.config))
        recipe = full.recipe and str(tmp_path / "recipe.yaml")
        monkeypatch.setattr(quickstart, stage, replace(full, config=str(job), recipe=recipe))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.setattr(quickstart, "EPOCHS", 1)
    monkeypatch.setattr(quickstart, "STEPS", 1)
    monkeypatch.setattr(quickstart, "write_face_set", partial(write_face_set, people=6, pictures=4, pairs=20))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def table(text):
    """Return the cells of the printed table by the name of the row."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return {name: (accuracy, seconds) for name, accuracy, seconds in rows}


@pytest.mark.parametrize("source", ["drawn", "own"])
def test_the_quickstart_ends_with_a_table_a_model_and_a_report(source, small):
    arguments = ["--output", "work", "--seed", 7]
    if source == "own":
        draw_folders(small / "faces", range(12), 4, seed=5)
        arguments += ["--data", "faces"]
    before = contents(small / "faces")
    ran = cakd("quickstart", *arguments)
    assert ran.code == 0, ran.err
    assert [line[:5] for line in ran.out.splitlines() if line.startswith("[")] == [
        f"[{step}/6]" for step in range(1, 7)
    ]
    cells = table(ran.out)
    assert list(cells)[-4:] == ["teacher", "student alone", "student + distillation", "difference"]
    points = {name: float(re.match(r"[+-]?[\d.]+", cells[name][0])[0]) for name in list(cells)[-4:]}
    gained = points["student + distillation"] - points["student alone"]
    assert points["difference"] == pytest.approx(gained, abs=0.011)
    (said,) = re.findall(
        r"student \+ distillation against student alone, the same 20 pairs: ([+-][\d.]+) points", ran.out
    )
    assert said == cells["difference"][0].split()[0], "one gain, not two"
    assert "insightface.model_zoo" in ran.out
    verdict = ran.out.index("\nThe teacher (" if "is no better" not in ran.out else "\nThe teacher is no better")
    assert ran.out.index("[6/6]") < verdict < ran.out.index("| model"), "the first line of the result"
    log = (small / "work" / "distilled" / "training.log").read_text()
    part = r"loss [\d.]+ \(margin [\d.]+, cosine [\d.]+ \(raw [\d.]+\).*\), lr [\d.]+, \d+ images/s, [\d:]+ left"
    assert re.search(part, log), log
    for line in ("model:  work/student.onnx (weights: work/distilled/model.pt)", "report: work/report.html"):
        assert line in ran.out
    said = ran.out[ran.out.index("| difference") :]
    for name in ("student + distillation", "teacher"):
        assert f"{name} against student alone, the same 20 pairs: " in said
    assert "dev: keeping the gallery of teacher under probes of student + distillation costs" in said
    assert contents(small / "faces") == before
    check_outputs(small / "work")


def test_a_quickstart_of_cakd_reports_where_its_centres_look_and_what_prompts_do(small):
    write_cakd(small.parent / "recipe.yaml")
    ran = cakd("quickstart", "--output", "work")
    assert ran.code == 0, ran.err
    report = (small / "work" / "report.html").read_text()
    for said in (
        "Local fields",
        "All 9 centres",
        "Attention loss",
        "Feature loss",
        "Anchors",
        "with prompts",
    ):
        assert said in report, said
    assert report.count('src="data:image/png;base64,') == 1
    check_outputs(small / "work")


def check_outputs(work):
    """Look at what the run left behind."""
    names = {path.name for path in work.iterdir()}
    assert names == {"data", "teacher", "alone", "distilled", "student.onnx", "report.html"}
    assert {path.name for path in (work / "data").iterdir()} == {"train.rec", "train.idx", "property", "dev.bin"}
    metadata = {entry.key: entry.value for entry in onnx.load(work / "student.onnx").metadata_props}
    assert metadata["teacher"] == "vit_tiny"
    report = (work / "report.html").read_text()
    assert "student + distillation" in report
    assert "difference" in report
    for part in (
        "Comparison",
        "Accuracy against time",
        "TAR@FAR",
        "Mixed enrolment",
        "McNemar",
    ):
        assert part in report, part
    alone, distilled = (torch.load(work / run / "model.pt", weights_only=True) for run in ("alone", "distilled"))
    network = get_model("cnn_tiny", num_features=64)
    network.load_state_dict(alone, strict=True)
    network.load_state_dict(distilled, strict=True)
    assert not all(torch.equal(alone[key], distilled[key]) for key in alone), "the teacher made a difference"


@pytest.fixture
def trained(small, monkeypatch):
    """Replace the trainings by known results; return the jobs that were asked for."""
    jobs, accuracies = [], iter([0.9, 0.75, 0.805])

    def train(job):
        jobs.append(job)
        return RunResult(accuracy={"dev": next(accuracies)}, seconds=61.4)

    monkeypatch.setattr(quickstart, "train", train)
    monkeypatch.setattr(quickstart, "export_run", lambda *_: type("Exported", (), {"summary": lambda _: "exported"})())
    gained = Difference(0.055, Interval(0.01, 0.1), Paired(9, 2))
    compared = RunComparison([Section("Comparison")], ["p = 0.03."], {"student + distillation": gained}, 600)
    monkeypatch.setattr(quickstart, "_settings", lambda data, seed: shared.settings_of(seed, ["dev"], 1))
    monkeypatch.setattr(quickstart, "compare_runs", lambda *_: compared)
    monkeypatch.setattr(shared, "write_report", lambda path, report: path.write_text(report.title))
    return jobs


def test_the_table_has_percents_points_and_seconds(trained):
    cells = table(cakd("quickstart").out)
    assert cells["teacher"] == ("90.00 %", "61")
    assert cells["student alone"] == ("75.00 %", "61")
    assert cells["student + distillation"] == ("80.50 %", "61")
    assert cells["difference"] == ("+5.50 points", "")


def test_both_students_train_alike_but_for_the_teacher(trained):
    assert cakd("quickstart", "--seed", 9, "--output", "work").code == 0
    teacher, alone, distilled = trained
    assert (alone.config, alone.distill, alone.recipe_settings) == (distilled.config, None, ())
    assert list(distilled.recipe_settings) == ['teacher.weights="work/teacher/model.pt"']
    assert [job.output for job in trained] == [Path("work") / name for name in ("teacher", "alone", "distilled")]
    common = {"seed=9", "val_targets=['dev']", "num_epoch=1", "verify_epochs=1"}
    assert all((set(job.settings), job.data) == (common, Path("work/data")) for job in trained)
    assert teacher.config != alone.config


def test_the_seed_makes_the_data(trained, small):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        quickstart._make_data(small / name, None, seed)
    a, b, c = (contents(small / name) for name in "abc")
    assert a == b != c


def test_own_faces_are_split_by_person(trained, small):
    draw_folders(small / "faces", range(12), 4, seed=5)
    quickstart._make_data(small / "data", small / "faces", 1)
    assert FaceRecords(small / "data").num_classes == 10
    assert len(load_bin(small / "data" / "dev.bin").same) == 20


@pytest.mark.parametrize("inside", ["notes.txt", "data/train.rec"])
def test_a_folder_with_something_in_it_is_refused(inside, small):
    file = small / "quickstart" / inside
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    refused(["quickstart"], r"quickstart: exists already; expected a new or empty folder", small)


def test_an_empty_folder_is_taken(trained, small):
    (small / "quickstart").mkdir()
    assert cakd("quickstart").code == 0


@pytest.mark.parametrize("kind", ["run", "onnx"])
def test_a_teacher_of_ones_own_is_measured_and_not_trained(kind, small):
    assert cakd("quickstart", "--output", "first", "--seed", 7).code == 0
    teacher = {"run": "first/teacher", "onnx": "first/student.onnx"}[kind]
    ran = cakd("quickstart", "--output", "work", "--seed", 7, "--teacher", teacher)
    assert ran.code == 0, ran.err
    assert re.search(r"\[2/6\] measuring the teacher \(first/.*\)\n+the teacher: [\d.]+ % on dev", ran.out)
    assert not Path("work/teacher").exists()
    assert list(table(ran.out))[-4:] == ["teacher", "student alone", "student + distillation", "difference"]
    recipe = RunFolder(Path("work/distilled")).recipe
    assert recipe["views"]["both"]
    assert Path(recipe["teacher"]["weights"]).exists()
    measured = float(table(ran.out)["teacher"][0].split()[0]) / 100
    source = {"run": "first/teacher", "onnx": "first/distilled"}[kind]
    assert measured == pytest.approx(RunFolder(Path(source)).result.accuracy["dev"], abs=0.051)


def test_a_slow_teacher_answers_each_image_once_before_the_training(small, monkeypatch):
    assert cakd("quickstart", "--output", "first", "--seed", 7).code == 0
    monkeypatch.setattr(quickstart, "LIVE_SECONDS", 0)
    ran = cakd("quickstart", "--output", "work", "--seed", 7, "--teacher", "first/student.onnx")
    assert ran.code == 0, ran.err
    assert "it answers each image once, before" in ran.out
    recipe = RunFolder(Path("work/distilled")).recipe
    assert (recipe["teacher"]["network"], recipe["teacher"]["weights"]) == ("cached", "work/cache")


def test_what_failed_goes_on_with_the_networks_that_are_trained(small, monkeypatch):
    def export(*_):
        raise RunError("student.onnx: no space. Free some.")

    with monkeypatch.context() as broken:
        broken.setattr(quickstart, "export_run", export)
        assert cakd("quickstart", "--output", "work").code == 1
    trained = (small / "work/distilled/model.pt").stat().st_mtime_ns
    ran = cakd("quickstart", "--output", "work")
    assert ran.code == 0, ran.err
    assert "work: an unfinished quickstart, which goes on" in ran.out
    assert (small / "work/distilled/model.pt").stat().st_mtime_ns == trained or "nothing is trained" in ran.err
    check_outputs(small / "work")


@pytest.mark.parametrize(
    ("images", "epochs", "batch"), [(40, 300, "batch_size=40"), (286, 75, None), (4000, 5, None), (100000, 5, None)]
)
def test_few_images_are_seen_in_more_epochs_and_in_batches_that_they_fill(images, epochs, batch):
    # 286 images: 4 batches of 64 an epoch, 300 / 4 = 75 epochs; 4000: 62 batches, 310 steps in 5.
    settings = quickstart._settings(images, 7)
    assert f"num_epoch={epochs}" in settings
    assert [one for one in settings if one.startswith("batch_size")] == ([] if batch is None else [batch])


def test_one_person_is_too_few_before_anything_is_trained(small):
    draw_folders(small / "faces", range(1), 4, seed=5)
    refused(["quickstart", "--data", "faces"], "faces: 1 person; expected at least 10", small)


def test_an_error_about_an_image_names_the_users_file(small):
    draw_folders(small / "faces", range(12), 4, seed=5)
    broken = sorted((small / "faces").rglob("*.*"))[0]
    broken.write_text("no image")
    refused(["quickstart", "--data", "faces"], f"faces/{broken.relative_to(small / 'faces')}: 8 bytes", small)


def test_weights_of_an_unknown_network_are_refused_before_anything_is_made(small):
    torch.save(get_model("cnn_tiny").state_dict(), "teacher.pt")
    line = refused(
        ["quickstart", "--output", "work", "--teacher", "teacher.pt"], "--teacher teacher.pt: which network", small
    )
    assert "expected an .onnx, or the output folder of a run" in line


def test_a_teacher_is_for_identification(small):
    refused(["quickstart", "--task", "lowres", "--teacher", "t.onnx"], "--teacher: given with --task lowres", small)
