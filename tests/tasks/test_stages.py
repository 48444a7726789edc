"""Stages of a recipe: runs before its own, whose last weights it starts from."""

import json

import pytest
import torch

from insightface_cakd.errors import RecipeError, RunError
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe
from insightface_cakd.recipe.settings import given
from insightface_cakd.tasks.job import Job
from insightface_cakd.tasks.launch import train
from insightface_cakd.tasks.stages import stages_of
from tests.commands import refused
from tests.tasks.runs import check_one_student, launch

SMALL = {"batch_size": 8, "num_epoch": 1, "warmup_epoch": 0, "num_workers": 0, "frequent": 1, "embedding_size": 64}
SETTINGS = (*(f"{key}={value!r}" for key, value in SMALL.items()), "device='cpu'", "val_targets=[]")
STAGED = """
task: triplets
teacher: {network: vit_tiny}
student:
  stages:
    - {name: softmax, settings: {margin_list: [1.0, 0.0, 0.0]}}
    - {name: classes, recipe: transfer_kd, settings: {margin_list: [1.0, 0.0, 0.0]}}
losses: [{loss: cosine, weight: 1}]
"""


@pytest.fixture(scope="module")
def teacher(face_set, tmp_path_factory):
    """Give weights and head of a ViT that has seen the faces."""
    folder = tmp_path_factory.mktemp("teacher")
    train(Job("faces_vit_tiny", settings=SETTINGS, data=face_set, output=folder / "run"))
    return given(teacher=str(folder / "run" / "model.pt"), centres=[str(folder / "run" / "checkpoint_gpu_0.pt")])


@pytest.fixture
def staged(tmp_path):
    path = tmp_path / "staged.yaml"
    path.write_text(STAGED)
    return str(path)


def job(recipe, teacher, data, output, **more):
    settings = (*SETTINGS, *more.pop("settings", ()))
    return Job("faces_cnn_tiny", recipe, teacher, settings, data, output, **more)


def state(folder):
    return torch.load(folder / "model.pt", weights_only=True)


def test_each_stage_starts_from_the_last_weights_of_the_one_before(staged, teacher, face_set, tmp_path, capsys):
    """With learning rate 0 all keep those of the first, bit for bit."""
    slow = {"settings": ("lr=0.0", "weight_decay=0.0")}
    train(job(staged, teacher, face_set, tmp_path / "out", **slow))
    first, second, last = (state(tmp_path / "out" / part) for part in ("stages/softmax", "stages/classes", ""))
    for name, _ in get_model("cnn_tiny", num_features=64).named_parameters():
        assert torch.equal(first[name], second[name]), name
        assert torch.equal(first[name], last[name]), name
    runs = [json.loads((tmp_path / "out" / part / "run.json").read_text()) for part in ("stages/classes", "")]
    assert [run["recipe"]["task"]["kind"] for run in runs] == ["identification", "triplets"]
    assert runs[0]["config"]["margin_list"] == [1.0, 0.0, 0.0] != runs[1]["config"]["margin_list"]
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("stage ")]
    assert said == ["stage 1 of 3: softmax", "stage 2 of 3: classes", "stage 3 of 3: staged"]


@pytest.mark.parametrize(
    "stops_in", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(2, marks=pytest.mark.slow)]
)
def test_a_job_stopped_in_any_stage_goes_on_to_the_same_weights(stops_in, staged, teacher, face_set, tmp_path):
    more = {"settings": ("num_epoch=2",)}
    train(job(staged, teacher, face_set, tmp_path / "whole", **more))
    own, runs = train_v2.verify_and_save, []

    def save_and_stop(parts, *rest):
        own(parts, *rest)
        runs.append(parts.output)
        if len(set(runs)) == stops_in + 1:
            raise RunError("stopped after an epoch")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_v2, "verify_and_save", save_and_stop)
        with pytest.raises(RunError, match="stopped"):
            train(job(staged, teacher, face_set, tmp_path / "parts", **more))
    train(job(staged, teacher, face_set, tmp_path / "parts", resume=True, **more))
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())


def test_a_stage_is_run_alone_where_weights_are_given(staged, teacher, face_set, tmp_path):
    init = given(init="first.pt")
    assert [stage.job.distill for stage in stages_of(job(staged, (*teacher, *init), face_set, tmp_path))] == [staged]


def test_a_stage_gets_of_the_teachers_files_those_that_its_recipe_reads(staged, teacher, face_set, tmp_path):
    changes = (*teacher, "student.stages.classes.recipe_settings={losses.kd.weight: 3.5}", "losses.cosine.weight=2")
    first, second, last = (stage.job for stage in stages_of(job(staged, changes, face_set, tmp_path / "out")))
    assert (first.distill, first.recipe_settings) == (None, ())
    recipes = [load_recipe(str(one.distill), one.recipe_settings) for one in (second, last)]
    assert [recipe.losses[0].weight for recipe in recipes] == [3.5, 2.0]
    assert recipes[0].teacher == recipes[1].teacher.model_copy(update={"network": "vit_tiny"})
    assert recipes[1].student.weights == str(tmp_path / "out" / "stages" / "classes" / "model.pt")


def test_a_stage_reads_its_own_folder_of_images(staged, teacher, face_set, tmp_path):
    (tmp_path / "data" / "people").mkdir(parents=True)
    changes = (*teacher, "student.stages.softmax.data=people", f"student.stages.classes.data={face_set}")
    data = [stage.job.data for stage in stages_of(job(staged, changes, tmp_path / "data", tmp_path / "out"))]
    assert data == [tmp_path / "data" / "people", face_set, tmp_path / "data"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["teacher.centres=[]"], r"recipe transfer_kd: needs the teacher's class centres.*Pass --centres FILE"),
        (["student.stages.softmax.data=none"], r"student\.stages: softmax: \S+none is no folder.*pass --recipe-set"),
        (["student.stages.softmax.recipes=a"], r"student\.stages\S* is not a key; known: name, recipe, .*'recipe'"),
        (["student.stages.classes.recipe=null"], r"student\.stages: classes follows another and has no recipe"),
        (["student.stages.classes.recipe=cosin"], r"recipe cosin: no such file.* Did you mean 'cosine'"),
        (["student.stages.classes.name=a/b"], r"student\.stages\[1\]\.name is 'a/b'"),
    ],
)
def test_what_cannot_work_is_found_before_the_first_stage(changes, message, staged, teacher, face_set, tmp_path):
    with pytest.raises((RecipeError, RunError), match=message):
        train(job(staged, (*teacher, *changes), face_set, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_stages_need_a_folder(staged, teacher, face_set):
    with pytest.raises(RunError, match=r"has stages, and no folder to keep them in; expected --output DIR"):
        train(job(staged, teacher, face_set, None))


def test_a_new_job_does_not_overwrite_the_stages_of_another(staged, teacher, face_set, tmp_path):
    (tmp_path / "out" / "stages" / "softmax").mkdir(parents=True)
    (tmp_path / "out" / "stages" / "softmax" / "model.pt").write_bytes(b"")
    sets = [part for one in SETTINGS for part in ("--set", one)]
    files = [part for one in teacher for part in ("--recipe-set", one)]
    command = ["train", "faces_cnn_tiny", "--distill", staged, "--data", face_set, "--output", tmp_path / "out"]
    refused([*command, *sets, *files], r"\S+softmax: holds another run \(model\.pt\)", tmp_path / "out")


@pytest.mark.slow
def test_two_ranks_run_the_stages_one_after_another_and_leave_one_student(staged, teacher, face_set, tmp_path):
    sets = [part for one in (*SETTINGS, "save_all_states=True", "batch_size=4") for part in ("--set", one)]
    files = [part for one in (*teacher, "task.images=2") for part in ("--recipe-set", one)]
    command = ["train", "faces_cnn_tiny", "--distill", staged, "--data", str(face_set), "--output", "out"]
    said = launch(2, tmp_path, [*command, *sets, *files])
    assert said.count("stage 3 of 3") == 1
    check_one_student(tmp_path / "out")


@pytest.mark.upstream
@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_untouched_arcface_torch_runs_the_stages_one_after_another(ranks, face_set, tmp_path, arcface_torch):
    torch.save(get_model("mbf", num_features=64).state_dict(), tmp_path / "teacher.pt")
    torch.save({"weight": torch.randn(12, 64)}, tmp_path / "centres.pt")
    (tmp_path / "staged.yaml").write_text(STAGED.replace("vit_tiny", "mbf"))
    settings = {**SMALL, "rec": str(face_set), "num_image": 48, "num_classes": 12, "val_targets": [], "fp16": False}
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value!r}")]
    more = ["--distill", "staged.yaml", "--teacher", "teacher.pt", "--centres", "centres.pt", "--output", "out"]
    more += ["--recipe-set", "student.stages.classes.recipe_settings={teacher.network: mbf}"]
    more += ["--recipe-set", "task.images=2", "--host", arcface_torch]
    launch(ranks, tmp_path, ["train", "configs/ms1mv3_mbf", *more, *sets])
    for part in ("stages/softmax", "stages/classes", ""):
        get_model("mbf", num_features=64).load_state_dict(state(tmp_path / "out" / part), strict=True)
