"""Images without a label beside labelled ones: the margin sees the first, the terms see all; both hosts, resume, refusals."""

import json
from typing import ClassVar

import numpy as np
import pytest
import torch
from easydict import EasyDict

from insightface_cakd.data.images import encode_jpeg
from insightface_cakd.data.label_order import LABELS
from insightface_cakd.data.records import FaceRecords
from insightface_cakd.data.unlabelled import NOBODY, UnlabelledFaces
from insightface_cakd.errors import DataError, RecipeError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.hosts.embedded.losses import CombinedMarginLoss
from insightface_cakd.hosts.embedded.partial_fc_v2 import PartialFC_V2
from insightface_cakd.losses.base import DistillLoss
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.recipe.named import NamedSpec
from insightface_cakd.tasks.known import make_task, task_of
from insightface_cakd.tasks.task import DataRequest
from tests.commands import cakd, error_line
from tests.tasks.runs import SMALL, arguments, check_one_student, check_resumed, launch

PICTURES = 21


@pytest.fixture
def unlabelled(tmp_path):
    """Grey images, each of its own brightness, at two depths."""
    folder = tmp_path / "unlabelled"
    (folder / "deep" / "er").mkdir(parents=True)
    for number in range(PICTURES):
        place = folder if number % 2 else folder / "deep" / "er"
        place.joinpath(f"{number}.jpg").write_bytes(encode_jpeg(np.full((112, 112, 3), 10 * number, np.uint8)))
    return folder


def task(folder, **options):
    return make_task(NamedSpec(kind="unlabelled", options={"data": str(folder), **options}))


def batches(face_set, folder, batch_size=8, workers=0, **options):
    return task(folder, **options).data(DataRequest(face_set, batch_size, 5, workers, torch.device("cpu")))


def keys(images):
    return [image.numpy().tobytes() for image in images]


@pytest.mark.parametrize(("share", "labelled"), [(0.5, 4), (0.25, 6), (0.7, 2)])
def test_labelled_images_come_first_and_the_others_have_no_label(face_set, unlabelled, share, labelled):
    loader = batches(face_set, unlabelled, share=share)
    loader.set_epoch(0)
    for images, labels in loader:
        assert images.shape == (8, 3, 112, 112)
        assert (labels[:labelled] >= 0).all()
        assert (labels[labelled:] == NOBODY).all()
        # A grey image has one value.
        assert [bool(image.std() < 0.01) for image in images] == [False] * labelled + [True] * (8 - labelled)


def test_an_epoch_is_one_pass_over_the_labelled_images_and_as_many_of_the_others_as_it_takes(face_set, unlabelled):
    loader = batches(face_set, unlabelled, batch_size=12, share=10 / 12)
    seen = {}
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        given = [images for images, _ in loader]
        assert len(given) == len(loader) == len(FaceRecords(face_set)) // 2
        seen[epoch] = keys(torch.cat([images[2:] for images in given]))
        assert len(set(keys(torch.cat([images[:2] for images in given])))) == 2 * len(loader)
        # Two batches of ten are a pass over the 21 others.
        assert len(set(seen[epoch][:20])) == 20
    assert seen[0] != seen[1]


@pytest.mark.parametrize("first", [1, 5])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_that_begins_later_gives_what_it_would_have_given(face_set, unlabelled, first, workers):
    loader = batches(face_set, unlabelled, workers=workers)
    loader.set_epoch(3)
    whole = [keys(images) for images, _ in loader]
    loader.set_epoch(3, first)
    assert [keys(images) for images, _ in loader] == whole[first:]


def test_the_margin_loss_is_the_mean_over_the_labelled_rows(unlabelled):
    torch.manual_seed(0)
    rows, labels = torch.randn(8, 16), torch.tensor([3, 0, 1, 2, 1, 0, NOBODY, NOBODY])
    kind = task(unlabelled, share=0.25).head(PartialFC_V2)
    plain, ours = (build(CombinedMarginLoss(64, 1.0, 0.0, 0.4), 16, 4) for build in (PartialFC_V2, kind))
    ours.load_state_dict(plain.state_dict())
    alone, beside = rows[:6].clone().requires_grad_(), rows.clone().requires_grad_()
    expected, found = plain(alone, labels[:6].clone()), ours(beside, labels.clone())
    assert torch.equal(found.detach(), expected.detach())
    expected.backward()
    found.backward()
    torch.testing.assert_close(beside.grad[:6], alone.grad, rtol=0, atol=0)
    assert not beside.grad[6:].any()


@pytest.fixture
def recipe(unlabelled, tmp_path):
    torch.save(get_model("cnn_tiny", num_features=64).state_dict(), tmp_path / "teacher.pt")
    path = tmp_path / "r.yaml"
    path.write_text(
        f"task: {{kind: unlabelled, data: {unlabelled}, share: 0.25}}\n"
        f"teacher: {{network: cnn_tiny, weights: {tmp_path / 'teacher.pt'}}}\n"
        "losses: [{loss: cosine, weight: 4}]\n"
    )
    return path


def test_it_trains_and_verifies(face_set, recipe, tmp_path):
    ran = cakd(*arguments(face_set, tmp_path / "out", recipe))
    assert ran.code == 0, ran.err
    assert set(json.loads((tmp_path / "out" / "result.json").read_text())["accuracy"]) == {"dev"}
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    get_model("cnn_tiny", num_features=64).load_state_dict(state, strict=True)
    checkpoint = torch.load(tmp_path / "out" / "checkpoint_gpu_0.pt", weights_only=True)
    assert checkpoint[LABELS] is not None


class Rows(DistillLoss):
    """A term that notes how many rows it gets."""

    seen: ClassVar[list[int]] = []

    def forward(self, student, teacher, labels=None):
        self.seen.append(len(student))
        return (student - teacher).square().mean()


def test_the_terms_see_every_row(face_set, recipe, tmp_path):
    recipe.write_text(recipe.read_text().replace("loss: cosine", "loss: tests.tasks.test_unlabelled:Rows"))
    Rows.seen.clear()
    ran = cakd(*arguments(face_set, tmp_path / "out", recipe, num_epoch=1))
    assert ran.code == 0, ran.err
    assert set(Rows.seen) == {8}


def test_a_stopped_run_goes_on_to_the_same_weights(face_set, recipe, tmp_path):
    def run(output, *more):
        return cakd(*arguments(face_set, tmp_path / output, recipe, *more, save_all_states=True))

    check_resumed(run, tmp_path)


@pytest.mark.slow
def test_two_ranks_train_it_and_leave_one_student(face_set, recipe, tmp_path):
    launch(2, tmp_path, arguments(face_set, tmp_path / "out", recipe, save_all_states=True, batch_size=4))
    check_one_student(tmp_path / "out")


@pytest.mark.upstream
@pytest.mark.slow
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("ranks", [1, 2])
def test_untouched_arcface_torch_trains_it(ranks, labelled, face_set, recipe, tmp_path, arcface_torch):
    torch.save(get_model("mbf", num_features=64).state_dict(), tmp_path / "teacher.pt")
    recipe.write_text(recipe.read_text().replace("cnn_tiny", "mbf"))
    if not labelled:
        recipe.write_text(without_labels_in(recipe.read_text()))
    settings = {
        **SMALL,
        **{"rec": str(face_set), "network": "mbf", "embedding_size": 64, "num_classes": 12, "val_targets": ["dev"]},
        **{"verbose": 4, "fp16": False, "save_all_states": True},
    }
    settings.pop("device")
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value!r}")]
    more = ["--distill", str(recipe), "--host", str(arcface_torch), "--output", str(tmp_path / "out")]
    launch(ranks, tmp_path, ["train", "configs/ms1mv3_mbf", *more, *sets])
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    get_model("mbf", num_features=64).load_state_dict(state, strict=True)
    checkpoint = torch.load(tmp_path / "out" / "checkpoint_gpu_0.pt", weights_only=True)
    rows = SMALL["batch_size"] - (SMALL["batch_size"] // 4 if labelled else 0)
    assert checkpoint["global_step"] == 2 * (len(FaceRecords(face_set)) // ranks // rows)


def test_the_schedule_counts_the_steps_of_the_labelled_images(face_set, unlabelled):
    cfg = EasyDict(rec=str(face_set), batch_size=8)
    task(unlabelled, share=0.25).fill(cfg)
    images = len(FaceRecords(face_set))
    assert (cfg.num_classes, cfg.num_image) == (12, images // 6 * 8)


def test_images_are_found_at_any_depth_and_labels_of_records_are_not_read(face_set, unlabelled):
    assert len(UnlabelledFaces(unlabelled)) == PICTURES
    records, plain = UnlabelledFaces(face_set), FaceRecords(face_set)
    assert len(records) == len(plain)
    assert np.array_equal(records[3][0], plain[3][0])
    assert {records[index][1] for index in range(len(records))} == {NOBODY}


@pytest.mark.parametrize("share", [0, 1.5, -0.2, "half", True, float("nan")])
def test_shares_out_of_range_are_refused(unlabelled, share):
    with pytest.raises(RecipeError, match=r"task unlabelled: share is .*; expected a number above 0, at most 1"):
        task(unlabelled, share=share)


def test_only_a_share_of_all_goes_without_a_folder(unlabelled):
    with pytest.raises(RecipeError, match=r"task unlabelled: data .* and share 1; expected data for a share below 1"):
        task(unlabelled, share=1)
    with pytest.raises(RecipeError, match=r"task unlabelled: no data for share 0.5; expected data"):
        make_task(NamedSpec(kind="unlabelled"))


def without_labels():
    return make_task(NamedSpec(kind="unlabelled", options={"share": 1}))


@pytest.mark.parametrize("first", [0, 2])
def test_without_labels_an_epoch_is_one_pass_over_the_images_of_rec(unlabelled, first):
    loader = without_labels().data(DataRequest(unlabelled, 5, 5, 0, torch.device("cpu")))
    loader.set_epoch(1)
    given = list(loader)
    assert len(given) == len(loader) == PICTURES // 5
    assert len(set(keys(torch.cat([images for images, _ in given])))) == 5 * len(loader)
    assert all((labels == NOBODY).all() for _, labels in given)
    loader.set_epoch(1, first)
    assert [keys(images) for images, _ in loader] == [keys(images) for images, _ in given[first:]]


def test_without_labels_there_is_no_margin(unlabelled):
    head = without_labels().head(PartialFC_V2)(CombinedMarginLoss(64, 1.0, 0.0, 0.4), 16, 4)
    assert not list(head.parameters())
    rows = torch.randn(3, 16, requires_grad=True)
    loss = head(rows, torch.full((3,), NOBODY))
    loss.backward()
    assert (loss.item(), rows.grad.abs().max().item()) == (0, 0)


def without_labels_in(text):
    """Return a recipe whose first line, the task, has no labelled images."""
    return "\n".join(["task: {kind: unlabelled, share: 1}", *text.split("\n")[1:]])


@pytest.fixture
def alone(recipe):
    """The recipe without labelled images."""
    recipe.write_text(without_labels_in(recipe.read_text()))
    return recipe


def test_a_folder_of_nobody_trains_and_a_set_of_elsewhere_verifies(unlabelled, alone, face_set, tmp_path):
    (unlabelled / "dev.bin").write_bytes((face_set / "dev.bin").read_bytes())
    ran = cakd(*arguments(unlabelled, tmp_path / "out", alone))
    assert ran.code == 0, ran.err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (set(result["accuracy"]), result["steps"]) == ({"dev"}, 2 * (PICTURES // 8))


def test_a_stopped_run_without_labels_goes_on_to_the_same_weights(face_set, alone, tmp_path):
    def run(output, *more):
        return cakd(*arguments(face_set, tmp_path / output, alone, *more, save_all_states=True))

    check_resumed(run, tmp_path)


def test_a_recipe_without_labels_and_without_terms_is_refused(face_set, alone, tmp_path):
    alone.write_text(alone.read_text().replace("losses: [{loss: cosine, weight: 4}]", "losses: []"))
    line = error_line(cakd(*arguments(face_set, tmp_path / "out", alone)))
    assert "task unlabelled without a teacher or a term learns nothing" in line


def test_a_share_of_less_than_an_image_is_refused(face_set, unlabelled):
    with pytest.raises(RecipeError, match="share is 0.1, 0 images of a batch of 4; expected some of both"):
        task(unlabelled, share=0.1).fill(EasyDict(rec=str(face_set), batch_size=4))


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            {"losses": [{"loss": "kd", "weight": 1}]},
            r"term 'kd' needs a head with a margin on class centres for every image",
        ),
        (
            {"losses": [{"loss": "triplet_distillation", "weight": 1}]},
            r"term 'triplet_distillation' needs the identity",
        ),
        (
            {"head": {"centres": "learnt", "margin": "adaface"}},
            r"head needs a head with a margin on class centres for every image",
        ),
    ],
)
def test_what_reads_the_label_of_every_image_is_refused(unlabelled, part, said):
    teacher = {"network": "vit_tiny", "weights": "t.pt", "centres": ["c.pt"]}
    recipe = parse_recipe({"task": {"kind": "unlabelled", "data": str(unlabelled)}, "teacher": teacher, **part}, "r")
    with pytest.raises(RecipeError, match=said):
        task_of(recipe)


def test_folders_without_images_are_refused_before_the_run(face_set, tmp_path, recipe):
    with pytest.raises(DataError, match="none: no such folder; expected aligned images"):
        UnlabelledFaces(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: holds no images"):
        UnlabelledFaces(tmp_path / "empty")
    recipe.write_text(recipe.read_text().replace("/unlabelled,", "/empty,"))
    ran = cakd(*arguments(face_set, tmp_path / "out", recipe))
    assert "empty: holds no images; expected aligned ones" in error_line(ran)
    assert not (tmp_path / "out").exists()


def test_an_image_of_another_size_ends_the_run_in_a_line(face_set, unlabelled, recipe, tmp_path):
    (unlabelled / "large.png").write_bytes(encode_jpeg(np.zeros((200, 100, 3), np.uint8)))
    ran = cakd(*arguments(face_set, tmp_path / "out", recipe, batch_size=12, num_epoch=3))
    assert "large.png: 100 x 200 pixels; expected 112 x 112. Align the faces first." in error_line(ran)
