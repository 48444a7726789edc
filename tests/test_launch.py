"""Starting a run: overrides, recipes by name, provenance; every shipped recipe takes real steps, unedited."""

import json
from pathlib import Path

import pytest
import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.errors import CAKDError, RunError, TeacherError
from insightface_cakd.export.student import export_run
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.utils.utils_config import get_config
from insightface_cakd.launch import Job, apply_settings, train
from insightface_cakd.precompute import cache_teacher
from insightface_cakd.recipe import find_recipe, load_recipe, shipped_recipes

SMALL = (
    "batch_size=12",
    "num_epoch=1",
    "warmup_epoch=0",
    "num_workers=0",
    "frequent=2",
    "device=cpu",
    "embedding_size=64",
)
TINY = {"vit_tiny", "onnx", "cached"}
# Those of other networks run in test_cakd_recipes.py.
FOR_TINY = [
    path.stem
    for path in shipped_recipes()
    if path.stem != "quickstart" and load_recipe(str(path)).teacher.network in TINY
]


@pytest.fixture(scope="module")
def teacher_files(face_set, tmp_path_factory):
    """Give each kind of shipped teacher its file: weights, head, ONNX, cache."""
    folder = tmp_path_factory.mktemp("teacher")
    train(Job("faces_vit_tiny", settings=(f"rec={str(face_set)!r}", f"output={str(folder / 'run')!r}", *SMALL)))
    export_run(folder / "run", folder / "teacher.onnx", get_model)
    cache_teacher("cosine", face_set, folder / "cache", str(folder / "run" / "model.pt"))
    return {
        "vit_tiny": str(folder / "run" / "model.pt"),
        "centres": str(folder / "run" / "checkpoint_gpu_0.pt"),
        "onnx": str(folder / "teacher.onnx"),
        "cached": str(folder / "cache"),
    }


def test_a_cache_is_written_without_prompts_whatever_the_recipe_says(teacher_files, face_set, tmp_path):
    cache_teacher("cakd", face_set, tmp_path / "cache", teacher_files["vit_tiny"])
    ours, theirs = (
        (Path(folder) / "embeddings.f16").read_bytes() for folder in (tmp_path / "cache", teacher_files["cached"])
    )
    assert ours == theirs


def distil(recipe, files, data, output, **changes):
    loaded = load_recipe(recipe)
    job = Job(
        "faces_cnn_tiny",
        recipe,
        teacher=changes.get("teacher", files[loaded.teacher.network]),
        centres=(files["centres"],) if loaded.needs_centres else (),
        settings=(f"rec={str(data)!r}", f"output={str(output)!r}", *SMALL, *changes.get("settings", ())),
    )
    return train(job)


def test_the_plain_embeddings_of_a_prompted_teacher_may_come_from_a_cache(teacher_files, face_set, tmp_path):
    """Augmented batches of a real run are found in it; prompts and mapping, which the anchors train, become what they become without."""
    content = find_recipe("cakd").read_text().replace("tokens: 4", f"tokens: 4\n    plain: {teacher_files['cached']}")
    (tmp_path / "remembering.yaml").write_text(content)
    states = []
    for recipe in ("cakd", str(tmp_path / "remembering.yaml")):
        output = tmp_path / Path(recipe).stem
        distil(recipe, teacher_files, face_set, output)
        head = torch.load(output / "checkpoint_gpu_0.pt", weights_only=True)["state_dict_softmax_fc"]
        states.append({key: value for key, value in head.items() if key.startswith(("cakd.prompts", "cakd.urfm"))})
    torch.testing.assert_close(*states, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("recipe", FOR_TINY)
def test_every_shipped_recipe_takes_real_steps_unedited(recipe, teacher_files, face_set, tmp_path):
    result = distil(recipe, teacher_files, face_set, tmp_path)
    assert result.steps == 4
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    get_model("cnn_tiny", num_features=64).load_state_dict(state, strict=True)


def test_the_quickstarts_recipe_stops_an_untrained_teacher_at_its_floor(teacher_files, face_set, tmp_path):
    with pytest.raises(TeacherError, match=r"teacher.*0\.\d+ < .*0\.7"):
        distil("quickstart", teacher_files, face_set, tmp_path / "out")
    assert not (tmp_path / "out" / "model.pt").exists()


def test_live_and_cached_teachers_give_nearly_the_same_student(teacher_files, face_set, tmp_path):
    for name in ("onnx", "cached"):
        distil(name, teacher_files, face_set, tmp_path / name)
    live, cached = (torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("onnx", "cached"))
    for key, value in live.items():
        if value.is_floating_point():
            torch.testing.assert_close(cached[key], value, rtol=5e-2, atol=5e-3)


def test_a_run_says_what_taught_it(teacher_files, face_set, tmp_path):
    distil("cosine", teacher_files, face_set, tmp_path)
    facts = json.loads((tmp_path / "run.json").read_text())
    assert facts["teacher"]["sha256"]
    assert facts["recipe"]["losses"][0]["loss"] == "cosine"
    assert facts["config"]["network"] == "cnn_tiny"
    assert set(facts["versions"]) == {"python", "torch", "timm", "onnxruntime"}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("num_epoch", "no '='; expected key=value"),
        ("num_epochs=3", r"the config has no key 'num_epochs'; .* Did you mean 'num_epoch'\?"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_refused(setting, message):
    with pytest.raises(RunError, match=message):
        apply_settings(get_config("faces_cnn_tiny"), [setting])


def test_settings_are_python_values_or_text():
    cfg = apply_settings(
        get_config("faces_cnn_tiny"), ["lr=1e-3", "fp16=true", "val_targets=['lfw']", "rec=data", "device=none"]
    )
    assert (cfg.lr, cfg.fp16, cfg.val_targets, cfg.rec, cfg.device) == (1e-3, True, ["lfw"], "data", None)


def test_two_configs_of_one_process_do_not_leak_into_each_other():
    get_config("faces_vit_tiny").margin_list = (9,)
    first = get_config("faces_vit_tiny")
    first.val_targets.append("other")
    assert get_config("faces_vit_tiny").val_targets == ["dev"]
    assert get_config("faces_cnn_tiny").optimizer == "sgd"


def test_an_unknown_config_names_the_jobs():
    with pytest.raises(CAKDError, match=r"config faces_cnn: no such file and no such job; jobs: .*faces_cnn_tiny"):
        get_config("faces_cnn")


def test_the_drawn_verification_set_shows_other_people(face_set):
    pairs = load_bin(face_set / "dev.bin")
    assert pairs.images.shape == (40, 112, 112, 3)
    assert pairs.same.sum() == 10
