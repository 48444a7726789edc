"""Starting a run: overrides, recipes by name, provenance; every shipped recipe takes real steps, unedited."""

import json
from pathlib import Path

import pytest
import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.errors import CAKDError, RunError, TeacherError
from insightface_cakd.hosts.embedded import train_v2
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.utils.utils_config import get_config
from insightface_cakd.recipe import find_recipe, load_recipe
from insightface_cakd.recipe.settings import given
from insightface_cakd.tasks.launch import train
from insightface_cakd.tasks.precompute import cache_teacher
from insightface_cakd.teachers import Teacher
from tests.hosts.both_hosts import StoppedError
from tests.jobs import job
from tests.patched_runs import scalars
from tests.tasks.task_data import task_data
from tests.tasks.tiny_runs import FOR_TINY, SMALL, distil, make_teacher_files


@pytest.fixture(scope="module")
def teacher_files(face_set, tmp_path_factory):
    return make_teacher_files(face_set, tmp_path_factory.mktemp("teacher"))


def test_a_cache_is_written_without_prompts_whatever_the_recipe_says(teacher_files, face_set, tmp_path):
    cache_teacher("cakd", face_set, tmp_path / "cache", given(teacher=teacher_files["vit_tiny"]))
    ours, theirs = (
        (Path(folder) / "embeddings.f16").read_bytes() for folder in (tmp_path / "cache", teacher_files["cached"])
    )
    assert ours == theirs


def test_a_student_starts_from_the_weights_that_it_is_given(teacher_files, face_set, tmp_path):
    """With learning rate 0 it keeps them, bit for bit."""
    slow = {"settings": ("lr=0.0", "weight_decay=0.0"), "init": teacher_files["init"]}
    distil("transfer_kd", teacher_files, face_set, tmp_path / "out", **slow)
    before, after = (
        torch.load(path, weights_only=True) for path in (teacher_files["init"], tmp_path / "out" / "model.pt")
    )
    names = [name for name, _ in get_model("cnn_tiny", num_features=64).named_parameters()]
    assert all(torch.equal(before[name], after[name]) for name in names)
    assert (
        json.loads((tmp_path / "out" / "run.json").read_text())["recipe"]["student"]["weights"] == teacher_files["init"]
    )


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_teacher_computes_in_the_precision_of_the_run(
    teacher_files, face_set, tmp_path, monkeypatch, precision, dtype
):
    """It teaches in it from the first step on; it is measured before, in float32."""
    seen, embed = [], Teacher.forward

    def watched(teacher, images):
        layer = next(module for module in teacher.embedder.modules() if isinstance(module, torch.nn.Conv2d))
        hook = layer.register_forward_hook(lambda _, __, maps: seen.append(maps.dtype))
        embeddings = embed(teacher, images)
        hook.remove()
        return embeddings

    monkeypatch.setattr(Teacher, "forward", watched)
    distil("cosine", teacher_files, face_set, tmp_path / "out", settings=(f"precision={precision!r}",))
    assert set(seen) == {dtype}


def test_a_resumed_student_goes_on_from_its_checkpoint_and_does_not_read_its_initial_weights(
    teacher_files, face_set, tmp_path, monkeypatch
):
    file = tmp_path / "first.pt"
    file.write_bytes(Path(teacher_files["init"]).read_bytes())

    def run(name, resume=False):
        settings = (f"rec={str(face_set)!r}", f"output={str(tmp_path / name)!r}", *SMALL, "num_epoch=2")
        more = {"settings": settings, "resume": resume, "init": str(file)}
        train(job("faces_cnn_tiny", "transfer_logits", teacher_files["vit_tiny"], (teacher_files["centres"],), **more))

    run("whole")
    train_epoch = train_v2.train_epoch

    def first_only(parts, epoch, *more):
        if epoch > 0:
            raise StoppedError
        return train_epoch(parts, epoch, *more)

    with monkeypatch.context() as stopped:
        stopped.setattr(train_v2, "train_epoch", first_only)
        with pytest.raises(StoppedError):
            run("halves")
    file.unlink()
    run("halves", resume=True)
    states = [torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("whole", "halves")]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (None, r"recipe: the student starts from trained weights, but student\.weights is not set.*--init FILE"),
        ("nowhere.pt", r"student weights nowhere\.pt: does not exist; expected a file\. Pass --init FILE"),
        ("vit_tiny", r"student weights .*missing keys.*Is the config's network the one that wrote the file"),
        ("wide", r"student weights .*of another shape.*Is the config's embedding_size that of the run"),
    ],
)
def test_initial_weights_that_do_not_fit_are_refused_before_the_run(init, message, teacher_files, face_set, tmp_path):
    torch.save(get_model("cnn_tiny", num_features=32).state_dict(), tmp_path / "wide.pt")
    init = {"vit_tiny": teacher_files["vit_tiny"], "wide": str(tmp_path / "wide.pt")}.get(init, init)
    settings = (f"rec={str(face_set)!r}", f"output={str(tmp_path / 'out')!r}", *SMALL)
    centres, recipe = (teacher_files["centres"],), tmp_path / "recipe.yaml"
    loss = "losses: [{loss: kd, weight: 1}]"
    recipe.write_text(f"teacher: {{network: vit_tiny}}\nstudent: {{weights: null}}\n{loss}\n")
    with pytest.raises(CAKDError, match=message) as caught:
        train(job("faces_cnn_tiny", str(recipe), teacher_files["vit_tiny"], centres, init=init, settings=settings))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_initial_weights_without_a_recipe_are_refused(face_set, tmp_path):
    settings = (f"rec={str(face_set)!r}", f"output={str(tmp_path / 'out')!r}", *SMALL)
    with pytest.raises(RunError, match=r'student.weights="a\.pt": given without --distill'):
        train(job("faces_cnn_tiny", settings=settings, init="a.pt"))


def test_epochs_of_a_schedule_are_those_of_the_loader(teacher_files, face_set, tmp_path):
    """48 images in batches of 12: with min(e / 2, 1) the weights are 0, 1/2 and 1 in epochs 0, 1 and 2."""
    (tmp_path / "mine.yaml").write_text(
        "teacher: {network: vit_tiny}\nlosses:\n  - {loss: cosine, weight: 8, schedule: {kind: by_epoch, epochs: 2}}\n"
    )
    changes = {"settings": ("num_epoch=3", "frequent=1"), "teacher": teacher_files["vit_tiny"]}
    distil(str(tmp_path / "mine.yaml"), teacher_files, face_set, tmp_path / "out", **changes)
    raw, weighted = (
        dict(scalars(tmp_path / "out" / "tensorboard" / "distill", f"distill/{kind}/cosine"))
        for kind in ("raw", "weighted")
    )
    shares = [weighted[step] / raw[step] / 8 for step in range(1, 13)]
    assert shares == pytest.approx([0] * 4 + [0.5] * 4 + [1] * 4, rel=1e-5)


def test_gkd_logs_the_size_of_its_groups(teacher_files, face_set, tmp_path):
    distil("gkd", teacher_files, face_set, tmp_path, settings=("frequent=1",))
    sizes = dict(scalars(tmp_path / "tensorboard" / "distill", "distill/raw/gkd.mean_size"))
    assert len(sizes) == 4
    assert all(1 <= size <= 12 for size in sizes.values())


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
    data = task_data(load_recipe(recipe).task.kind, face_set, tmp_path / "data")
    result = distil(recipe, teacher_files, data, tmp_path / "out")
    assert result.steps == 4
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    width = json.loads((tmp_path / "out" / "run.json").read_text())["config"]["embedding_size"]
    get_model("cnn_tiny", num_features=width).load_state_dict(state, strict=True)


@pytest.mark.parametrize("recipe", ["kd", "gkd"])
def test_prototypes_take_the_place_of_the_teachers_head(recipe, teacher_files, face_set, tmp_path):
    files = teacher_files | {"centres": teacher_files["prototypes"]}
    assert distil(recipe, files, face_set, tmp_path).steps == 4


def test_a_run_that_is_stopped_and_resumed_keeps_the_bank_to_the_bit(teacher_files, face_set, tmp_path):
    for epochs, name in ((2, "whole"), (1, "stopped"), (2, "stopped")):
        again = job(
            "faces_cnn_tiny",
            "coupleface",
            teacher_files["vit_tiny"],
            settings=(
                f"rec={str(face_set)!r}", f"output={str(tmp_path / name)!r}", *SMALL, f"num_epoch={epochs}",
                "val_targets=[]", "save_all_states=True", "lr=0.0",
            ),
            resume=(tmp_path / name).exists(),
            prototypes=teacher_files["prototypes"],
        )  # fmt: skip
        train(again)
    whole, stopped = (
        torch.load(tmp_path / name / "checkpoint_gpu_0.pt", weights_only=True)["state_dict_softmax_fc"]
        for name in ("whole", "stopped")
    )
    assert whole.keys() == stopped.keys() >= {"cakd.losses.relation_aware.bank"}
    assert all(torch.equal(value, stopped[key]) for key, value in whole.items())


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
