"""Periocular recognition as a task: trained on both hosts, measured and exported by the strip, resumed to the bit."""

import json

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from insightface_cakd.errors import RecipeError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe, parse_recipe, recipe_name, shipped_recipes
from insightface_cakd.tasks.known import make_task, task_of
from tests.commands import cakd, refused
from tests.tasks.runs import check_one_student, launch, stop_and_resume

SMALL = {
    "batch_size": 12,
    "num_epoch": 2,
    "warmup_epoch": 0,
    "num_workers": 0,
    "frequent": 2,
    "device": "cpu",
    "embedding_size": 32,
    "val_targets": ["dev"],
}
RECIPES = [recipe_name(path) for path in shipped_recipes() if load_recipe(str(path)).task.kind == "periocular"]


def arguments(data, output, recipe, *more, config="faces_ckd_tiny", **settings):
    chosen = {"rec": str(data), **SMALL, **settings}
    sets = [part for key, value in chosen.items() for part in ("--set", f"{key}={value!r}")]
    return ["train", config, "--distill", str(recipe), "--output", str(output), *sets, *map(str, more)]


def ran(command):
    done = cakd(*command)
    assert done.code == 0, done.err
    return done.out


@pytest.fixture(scope="module")
def trained(face_set, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ckd") / "ckd"
    ran(arguments(face_set, folder, "ckd"))
    return folder


def test_there_are_the_method_and_its_two_ablations():
    assert sorted(name.rpartition("/")[2] for name in RECIPES) == ["ckd", "ckd_no_consistency", "ckd_strip_alone"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_shipped_recipe_takes_real_steps_unedited(recipe, face_set, tmp_path):
    ran(arguments(face_set, tmp_path / "out", recipe, num_epoch=1))
    assert json.loads((tmp_path / "out" / "result.json").read_text())["steps"] == 4
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    get_model("ckd_tiny", num_features=32).load_state_dict(state, strict=True)
    assert all(value.isfinite().all() for value in state.values())


def test_the_network_of_a_run_is_found_again_and_measured_by_the_strip(trained, face_set, tmp_path):
    ran(["eval", "bin", trained, face_set / "dev.bin", "--json", tmp_path / "bin.json"])
    ran(["eval", "periocular", trained, face_set / "dev.bin", "--json", tmp_path / "three.json"])
    strip, face, across = json.loads((tmp_path / "three.json").read_text())
    assert [one["variant"] for one in (strip, face, across)] == ["strip", "face", "strip against face"]
    (plain,) = json.loads((tmp_path / "bin.json").read_text())
    assert plain["accuracy"] == strip["accuracy"]
    assert plain["xnorm"] == pytest.approx(strip["xnorm"])
    assert strip["xnorm"] != pytest.approx(face["xnorm"])
    result = json.loads((trained / "result.json").read_text())
    assert result["accuracy"]["dev"] == pytest.approx(strip["accuracy"])


@pytest.mark.parametrize(("options", "branch"), [([], "strip"), (["--network", "ckd_tiny_face"], "face")])
def test_a_branch_is_exported_as_an_ordinary_network(options, branch, trained, tmp_path):
    ran(["export", trained, tmp_path / "out.onnx", *options])
    network = get_model("ckd_tiny", num_features=32).eval()
    network.load_state_dict(torch.load(trained / "model.pt", weights_only=True))
    images = torch.rand(3, 3, 112, 112) * 2 - 1
    session = onnxruntime.InferenceSession(str(tmp_path / "out.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, network.by(branch, images).numpy(), rtol=1e-3, atol=1e-4)
    graph = onnx.load(str(tmp_path / "out.onnx")).graph
    other = {"strip": "face", "face": "strip"}[branch]
    assert not any(f"tails.{other}" in weight.name for weight in graph.initializer)


def test_a_stopped_run_goes_on_to_the_same_weights(face_set, tmp_path):
    def run(output, *more):
        return cakd(*arguments(face_set, tmp_path / output, "ckd", *more, save_all_states=True))

    stop_and_resume(run)
    for part in ("state_dict_backbone", "state_dict_softmax_fc"):
        whole, parts = (
            torch.load(tmp_path / name / "checkpoint_gpu_0.pt", weights_only=True)[part] for name in ("whole", "parts")
        )
        assert set(whole) == set(parts)
        assert all(torch.equal(value, parts[key]) for key, value in whole.items() if torch.is_tensor(value))
    assert {"classifiers.face.weight", "classifiers.face.bias", "classifiers.strip.bias"} <= set(whole)


def test_a_frozen_teacher_that_sees_the_face_may_teach_the_strip(trained, face_set, tmp_path):
    recipe = tmp_path / "taught.yaml"
    recipe.write_text(
        "task: periocular\nteacher:\n  network: ckd_tiny_face\nlosses:\n  - loss: cosine\n    weight: 1\n"
    )
    ran(arguments(face_set, tmp_path / "out", recipe, "--teacher", trained / "model.pt", num_epoch=1))
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    get_model("ckd_tiny", num_features=32).load_state_dict(state, strict=True)


def test_terms_read_the_strip():
    task = make_task(parse_recipe({"task": "periocular"}, "recipe").task)
    both = torch.arange(12.0).view(2, 2, 3)
    assert torch.equal(task.embedding(both), both[:, 1])
    assert torch.equal(task.embedding(both[:, 0]), both[:, 0])


@pytest.mark.parametrize("network", ["vit_tiny", "cnn_tiny", "ckd_tiny_face"])
def test_a_network_without_joint_norms_is_refused_before_anything_is_written(network, face_set, tmp_path):
    message = rf"network: {network} has no stages with joint batch norms for face and strip; expected one of ckd, ckd_t"
    refused(arguments(face_set, tmp_path / "out", "ckd", network=network), message, tmp_path)


def test_faces_of_another_size_are_refused_before_anything_is_written(tmp_path):
    for person in ("a", "b"):
        (tmp_path / "faces" / person).mkdir(parents=True)
        for number in range(6):
            cv2.imwrite(str(tmp_path / "faces" / person / f"{number}.png"), np.zeros((48, 128, 3), np.uint8))
    message = r".*0\.png: 128 x 48 pixels; expected 112 x 112\. Align the faces first"
    refused(arguments(tmp_path / "faces", tmp_path / "out", "ckd", val_targets=[]), message, tmp_path)


def test_sampled_classes_are_refused_before_anything_is_written(face_set, tmp_path):
    refused(arguments(face_set, tmp_path / "out", "ckd", sample_rate=0.5), r"sample_rate is 0\.5; expected 1", tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, r"temperature is 0; expected a positive number"),
        ({"consistency": -1}, r"consistency is -1; expected a weight of at least 0"),
        ({"consistency": float("nan")}, r"consistency is nan; expected a weight"),
        ({"face": "no"}, r"face is 'no'; expected true or false"),
        ({"tau": 2.5}, r"tau is not an option of Periocular; known: consistency, temperature, face"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        make_task(parse_recipe({"task": {"kind": "periocular", **options}}, "recipe").task)


def test_a_term_on_class_centres_is_refused_since_the_head_has_no_margin():
    recipe = {
        "task": "periocular",
        "teacher": {"network": "vit_tiny", "centres": ["c.pt"]},
        "losses": [{"loss": "kd", "weight": 1}],
    }
    with pytest.raises(
        RecipeError, match=r"term 'kd' needs a head with a margin on class centres, and that of task per"
    ):
        task_of(parse_recipe(recipe, "recipe"))


def test_the_weight_of_the_consistency_changes_the_run(trained, face_set, tmp_path):
    ran(arguments(face_set, tmp_path / "out", "ablations/ckd_no_consistency"))
    ours, theirs = (torch.load(run / "model.pt", weights_only=True) for run in (trained, tmp_path / "out"))
    assert not torch.equal(ours["stem.weight"], theirs["stem.weight"])


def test_an_ordinary_model_is_measured_with_all_but_the_strip_grey(face_set, tmp_path):
    torch.save(get_model("cnn_tiny", num_features=32).state_dict(), tmp_path / "m.pt")
    ran(["eval", "periocular", tmp_path / "m.pt", face_set / "dev.bin", "--network", "cnn_tiny", "--json",
         tmp_path / "three.json"])  # fmt: skip
    ran(["eval", "bin", tmp_path / "m.pt", face_set / "dev.bin", "--network", "cnn_tiny", "--variant", "plain",
         "--variant", "eye_strip", "--on", "both", "--json", tmp_path / "bin.json"])  # fmt: skip
    strip, face, _ = json.loads((tmp_path / "three.json").read_text())
    plain, shown = json.loads((tmp_path / "bin.json").read_text())
    assert face["accuracy"] == plain["accuracy"]
    assert face["xnorm"] == pytest.approx(plain["xnorm"])
    assert strip["xnorm"] == pytest.approx(shown["xnorm"], rel=0.01)


@pytest.mark.slow
def test_two_ranks_train_it_and_leave_one_network(face_set, tmp_path):
    launch(2, tmp_path, arguments(face_set, tmp_path / "out", "ckd", save_all_states=True))
    first = check_one_student(tmp_path / "out")
    assert len(first["state_dict_softmax_fc"]["classifiers.face.bias"]) == 6


@pytest.mark.upstream
@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "ranks"), [("ckd", 1), ("ckd", 2), ("ablations/ckd_strip_alone", 2)])
def test_untouched_arcface_torch_trains_it(recipe, ranks, face_set, tmp_path, arcface_torch):
    more = {"network": "ckd_tiny", "num_image": 48, "num_classes": 12, "verbose": 2, "fp16": False}
    settings = {key: value for key, value in SMALL.items() if key != "device"}
    sets = [part for key, value in {"rec": str(face_set), **settings, **more, "save_all_states": True}.items()
            for part in ("--set", f"{key}={value!r}")]  # fmt: skip
    job = ["train", "configs/ms1mv3_mbf", "--distill", recipe, "--host", arcface_torch, "--output", tmp_path / "out"]
    done = launch(ranks, tmp_path, [*job, *sets])
    assert "Accuracy-Flip" in done + (tmp_path / "out" / "training.log").read_text()
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    get_model("ckd_tiny", num_features=32).load_state_dict(state, strict=True)
    head = torch.load(tmp_path / "out" / "checkpoint_gpu_0.pt", weights_only=True)["state_dict_softmax_fc"]
    assert head["classifiers.strip.weight"].shape == (12 // ranks, 32)
    ran(["eval", "bin", tmp_path / "out", face_set / "dev.bin"])
