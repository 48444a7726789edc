"""Five points of the face as a task: the same five names on the embedded host, on untouched arcface_torch, and on two ranks."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from easydict import EasyDict

from insightface_cakd.data.landmarks import read_points
from insightface_cakd.data.landmarks.flips import FLIPS, mirror
from insightface_cakd.errors import DataError, RecipeError
from insightface_cakd.evaluate.landmarks.measure import measure_points
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe, parse_recipe
from insightface_cakd.recipe.named import NamedSpec
from insightface_cakd.recipe.schedule import Length
from insightface_cakd.tasks.batches import embedded_length
from insightface_cakd.tasks.known import make_task, task_of
from insightface_cakd.tasks.point_faces import PointFaces
from tests.commands import cakd, error_line, refused, write_recipe
from tests.point_sets import face_68, shaken, write_folder
from tests.tasks.runs import check_one_student, check_resumed, launch

NAMES = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
FACE = np.array([[24.0, 30], [50, 30], [37, 44], [27, 56], [48, 56]])
SMALL = {
    "batch_size": 16,
    "num_epoch": 2,
    "warmup_epoch": 0,
    "num_workers": 0,
    "frequent": 2,
    "device": "cpu",
    "verify_epochs": 1,
}


def write_part(folder: Path, name: str, count: int, seed: int) -> None:
    """Write images of 74 x 80 with a bright spot at each of five points that a random shift and scale moved."""
    random = np.random.default_rng(seed)
    (folder / name).mkdir(parents=True)
    lines = [",".join(["file", *(f"{point}_{axis}" for point in NAMES for axis in "xy")])]
    y, x = np.mgrid[0:80, 0:74]
    for index in range(count):
        points = (FACE - 37) * random.uniform(0.8, 1.2) + 37 + random.uniform(-8, 8, 2)
        spots = np.stack([np.exp(-((x - u) ** 2 + (y - v) ** 2) / 30) for u, v in points])
        image = 255 * np.stack([spots[0] + spots[3], spots[1] + spots[4], spots[2]], axis=-1)
        cv2.imwrite(str(folder / name / f"{index}.png"), np.clip(image, 0, 255).astype(np.uint8)[..., ::-1])
        lines.append(",".join([f"{index}.png", *(f"{value:.2f}" for value in points.flatten())]))
    (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    """A folder with 64 training and 24 test images."""
    folder = tmp_path_factory.mktemp("points")
    write_part(folder, "train", 64, seed=1)
    write_part(folder, "test", 24, seed=2)
    return folder


@pytest.fixture(scope="module")
def taught(points, tmp_path_factory):
    """A recipe whose teacher is a network that the landmark task itself trained."""
    folder = tmp_path_factory.mktemp("teacher")
    alone = folder / "alone.yaml"
    alone.write_text("task: landmarks\n")
    ran = cakd(*arguments(points, folder / "teacher", "--distill", alone, network="cnn_tiny"))
    assert ran.code == 0, ran.err
    recipe = write_recipe(
        folder / "r.yaml",
        {"loss": "mse", "weight": 0.5},
        network="cnn_tiny",
        weights=str(folder / "teacher" / "model.pt"),
    )
    recipe.write_text("task: {kind: landmarks, loss: l1}\n" + recipe.read_text())
    return recipe


def arguments(data, output, *more, **settings):
    chosen = {"rec": str(data), "val_targets": ["test"], "embedding_size": 64, **SMALL, **settings}
    sets = [part for key, value in chosen.items() for part in ("--set", f"{key}={value!r}")]
    return ["train", "faces_cnn_tiny", "--output", str(output), *sets, *map(str, more)]


def test_it_trains_alone_and_under_a_teacher_and_says_its_error(points, taught, tmp_path):
    ran = cakd(*arguments(points, tmp_path / "out", "--distill", taught))
    assert ran.code == 0, ran.err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    kinds = ("nme", "median", "failure_rate_0.08", "auc_0.08")
    names = {f"{kind}_{length}" for kind in kinds for length in ("eye_centres", "box")} | {"images"}
    assert set(result["measured"]["test"]) == names
    assert result["accuracy"] == {}
    network = get_model("cnn_tiny", num_features=10)
    network.load_state_dict(torch.load(tmp_path / "out" / "model.pt", weights_only=True), strict=True)
    measured = measure_points(network, read_points(points, "test"))
    assert measured.value == pytest.approx(result["measured"]["test"]["nme_eye_centres"], abs=1e-6)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["recipe"]["task"]["kind"] == "landmarks"


@pytest.mark.parametrize("command", ["train", "doctor"])
def test_a_schedule_in_epochs_counts_the_images_of_the_task(command, points, taught, tmp_path):
    recipe = tmp_path / "r.yaml"
    schedule = "weight: 0.5\n  schedule: {kind: by_epoch, epochs: 1}"
    recipe.write_text(taught.read_text().replace("weight: 0.5", schedule))
    assert load_recipe(str(recipe)).needs_length
    _, config, _, output, *more = arguments(points, tmp_path / "out", "--distill", recipe)
    job = ["train", config, "--output", output] if command == "train" else ["doctor", "--config", config]
    ran = cakd(*job, *more)
    assert ran.code == 0, ran.out + ran.err


def test_the_length_of_a_run_is_that_of_the_tasks_images(points):
    task = make_task(NamedSpec(kind="landmarks"))
    cfg = EasyDict(rec=str(points), batch_size=16, num_epoch=2)
    task.fill(cfg)
    assert embedded_length(cfg, task, ranks=1) == Length(4, 2)
    assert embedded_length(cfg, task, ranks=3) == Length(1, 2), "22 images on each rank"


def test_the_error_falls_and_the_best_network_is_kept(points, tmp_path):
    alone = tmp_path / "alone.yaml"
    alone.write_text("task: landmarks\n")
    ran = cakd(*arguments(points, tmp_path / "out", "--distill", alone, num_epoch=8, lr=0.003, optimizer="adamw"))
    assert ran.code == 0, ran.err
    best = json.loads((tmp_path / "out" / "result.json").read_text())["best"]["test"]
    given, train = read_points(points, "test"), read_points(points, "train")
    apart = np.linalg.norm(given.points[:, 0] - given.points[:, 1], axis=1)
    shape = (np.linalg.norm(given.points - train.points.mean(axis=0), axis=2).mean(axis=1) / apart).mean()
    assert best < 0.8 * shape, "better than the mean shape"
    network = get_model("cnn_tiny", num_features=10)
    network.load_state_dict(torch.load(tmp_path / "out" / "best.pt", weights_only=True), strict=True)
    assert measure_points(network, read_points(points, "test")).value == pytest.approx(best, abs=1e-6)


def test_a_stopped_run_goes_on_to_the_same_weights(points, taught, tmp_path):
    def run(output, *more):
        return cakd(*arguments(points, tmp_path / output, "--distill", taught, *more, save_all_states=True))

    check_resumed(run, tmp_path)


@pytest.mark.slow
def test_two_ranks_train_it_and_leave_one_student(points, taught, tmp_path):
    launch(2, tmp_path, arguments(points, tmp_path / "out", "--distill", taught, save_all_states=True))
    check_one_student(tmp_path / "out")


IDENTITY = """task: {kind: landmarks, loss: l2, degrees: 10, scale: 0.1, shift: 0.05}
teacher: {network: vit_tiny, weights: WEIGHTS}
losses:
  - {loss: fitnet, weight: 0.1, student: layer4, teacher: norm, projector: map_to_tokens}
  - {loss: cosine, name: hidden, weight: 0.5, student: fc, projector: linear}
  - {loss: cosine, weight: 0.5, projector: linear}
"""


def test_a_recogniser_teaches_its_map_and_its_embedding(points, tmp_path):
    """Hidden layers through a projector, and the embedding, of a teacher that knows people and no points."""
    torch.save(get_model("vit_tiny", num_features=64).state_dict(), tmp_path / "teacher.pt")
    torch.save(get_model("cnn_tiny", num_features=64).state_dict(), tmp_path / "classifier.pt")
    recipe = tmp_path / "r.yaml"
    recipe.write_text(IDENTITY.replace("WEIGHTS", str(tmp_path / "teacher.pt")))
    ran = cakd(*arguments(points, tmp_path / "out", "--distill", recipe, "--init", tmp_path / "classifier.pt"))
    assert ran.code == 0, ran.err
    trained = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    get_model("cnn_tiny", num_features=10).load_state_dict(trained, strict=True)
    events = [path for path in (tmp_path / "out" / "tensorboard").rglob("*") if path.is_file()]
    logged = b"".join(path.read_bytes() for path in events)
    for term in (b"raw/fitnet", b"raw/hidden", b"raw/cosine"):
        assert term in logged, term


def packed(points, folder):
    """Pack the sets of a folder, and return that of the records."""
    for name in ("train", "test"):
        ran = cakd("data", "pack-landmarks", points / f"{name}.csv", folder, "--coordinates", "pixels", "--name", name)
        assert ran.code == 0, ran.err
    return folder


def test_records_train_as_the_folder_does(points, tmp_path):
    alone = tmp_path / "alone.yaml"
    alone.write_text("task: {kind: landmarks, degrees: 15, scale: 0.1}\n")
    for name, data in (("folder", points), ("records", packed(points, tmp_path / "data"))):
        ran = cakd(*arguments(data, tmp_path / name, "--distill", alone))
        assert ran.code == 0, ran.err
    folder, records = (torch.load(tmp_path / name / "model.pt", weights_only=True) for name in ("folder", "records"))
    for key, value in folder.items():
        # The CSV has two digits, the records float32 of them: the same numbers.
        assert torch.equal(value, records[key]), key


def test_points_without_a_table_are_not_mirrored_and_said_once(tmp_path):
    for name, seed in (("train", 1), ("test", 2)):
        write_folder(tmp_path, name, shaken(FACE[:3], 16, seed), ("a", "b", "c"))
    alone = tmp_path / "alone.yaml"
    alone.write_text("task: landmarks\n")
    ran = cakd(*arguments(tmp_path, tmp_path / "out", "--distill", alone))
    assert ran.code == 0, ran.err
    assert ran.out.count("which point becomes which in a mirror is not known; nothing is mirrored") == 1


def test_68_points_train(tmp_path):
    for name, seed in (("train", 1), ("test", 2)):
        write_folder(tmp_path, name, shaken(face_68(), 16, seed), [str(index) for index in range(68)])
    alone = tmp_path / "alone.yaml"
    alone.write_text("task: landmarks\n")
    ran = cakd(*arguments(tmp_path, tmp_path / "out", "--distill", alone))
    assert ran.code == 0, ran.err
    measured = json.loads((tmp_path / "out" / "result.json").read_text())["measured"]["test"]
    assert {"nme_outer_corners", "nme_eye_centres", "nme_box"} <= set(measured)


def test_sets_of_other_points_are_refused_before_anything_is_written(points, tmp_path):
    write_folder(tmp_path, "train", shaken(FACE, 4, 1))
    write_folder(tmp_path, "test", shaken(face_68(), 4, 1), [str(index) for index in range(68)])
    alone = tmp_path / "alone.yaml"
    alone.write_text("task: landmarks\n")
    message = r".*test\.csv: 68 points 0,1,.* has 5 points left_eye,.*; expected the same"
    refused(arguments(tmp_path, tmp_path / "out", "--distill", alone), message, tmp_path)


def test_points_in_another_order_are_refused(tmp_path):
    order = [2, 0, 1, 3, 4]
    for name in ("train", "test"):
        write_folder(tmp_path, name, shaken(FACE, 4, 1)[:, order], [str(index) for index in range(5)])
    alone = tmp_path / "alone.yaml"
    alone.write_text("task: landmarks\n")
    message = r".*the mirrored mean shape is .* of its radius from itself; expected at most 0\.3"
    refused(arguments(tmp_path, tmp_path / "out", "--distill", alone), message, tmp_path)


@pytest.mark.upstream
@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "records"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_untouched_arcface_torch_trains_it(ranks, form, points, tmp_path, arcface_torch):
    points = points if form == "folder" else packed(points, tmp_path / "data")
    recipe = tmp_path / "r.yaml"
    torch.save(get_model("mbf", num_features=10).state_dict(), tmp_path / "teacher.pt")
    write_recipe(recipe, {"loss": "mse", "weight": 0.5}, network="mbf", weights=str(tmp_path / "teacher.pt"))
    recipe.write_text("task: landmarks\n" + recipe.read_text())
    more = ["--distill", str(recipe), "--host", str(arcface_torch), "--output", str(tmp_path / "out")]
    settings = {
        "rec": str(points),
        "network": "mbf",
        "val_targets": ["test"],
        "batch_size": 16,
        "num_epoch": 2,
        "warmup_epoch": 0,
        "lr": 0.02,
        "num_workers": 0,
        "frequent": 2,
        "verbose": 4,
        "fp16": False,
        "save_all_states": True,
    }
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value!r}")]
    said = launch(ranks, tmp_path, ["train", "configs/ms1mv3_mbf", *more, *sets])
    assert "points of model, normaliser eye centres, NME" in said + (tmp_path / "out" / "training.log").read_text()
    get_model("mbf", num_features=10).load_state_dict(
        torch.load(tmp_path / "out" / "model.pt", weights_only=True), strict=True
    )
    checkpoint = torch.load(tmp_path / "out" / "checkpoint_gpu_0.pt", weights_only=True)
    assert checkpoint["global_step"] == 8 // ranks


def test_mirroring_twice_is_the_identity_and_exchanges_sides():
    placed = np.random.default_rng(0).uniform(-1, 1, (5, 2)).astype(np.float32)
    np.testing.assert_array_equal(mirror(mirror(placed, FLIPS[5]), FLIPS[5]), placed)
    np.testing.assert_array_equal(mirror(placed, FLIPS[5])[0], placed[1] * [-1, 1])


def test_points_lie_on_their_spots_mirrored_or_not(points):
    given = read_points(points, "train")
    faces = PointFaces(given, seed=3, flip=given.flip)
    for index in range(12):
        pixels, placed = faces[index]
        x, y = ((placed.view(-1, 2)[2] + 1) * 56 - 0.5).round().int().tolist()  # the nose is blue alone
        blue = pixels[2].float()
        assert float(blue[y, x]) > 0.9 * float(blue.max())


def test_the_error_of_known_points_is_by_hand(points):
    given = read_points(points, "test")

    class Known(torch.nn.Module):
        """Answers the truth, moved by three pixels to the right."""

        def __init__(self):
            super().__init__()
            self.weight, self.seen = torch.nn.Parameter(torch.zeros(())), 0

        def forward(self, images):
            answers = (torch.from_numpy(given.points) + torch.tensor([3.5, 0.5])) * 2 / torch.tensor([74.0, 80.0]) - 1
            found = answers.flatten(1)[self.seen : self.seen + len(images)]
            self.seen += len(images)
            return found

    apart = np.linalg.norm(given.points[:, 0] - given.points[:, 1], axis=1)
    assert measure_points(Known(), given).value == pytest.approx(float((3 / apart).mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,a_x,a_y", "1.png,1"], r"line 2 has 2 columns; expected 3"),
        (["file,a_x,a_y", "1.png,1,nan"], r"a point is not a number"),
        (["file,a,b,c"], r"the first line is file,a,b,c; expected a first line"),
        (["file,a_x,a_y"], r"no image; expected a first line"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(tmp_path, lines, message):
    (tmp_path / "train.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=message):
        read_points(tmp_path, "train")


def test_a_missing_list_names_what_is_there(points):
    with pytest.raises(DataError, match=r"val\.csv: no such file; found: test, train\."):
        read_points(points, "val")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("landmark", r"recipe: task landmark: not known; known: identification, landmarks.*Did you mean 'landmarks'"),
        ({"kind": "landmarks", "loss": "l3"}, r"recipe: task landmarks: loss is 'l3'; expected l1 or l2"),
        ({"kind": "landmarks", "los": "l1"}, r"los is not an option of Landmarks; known: loss"),
    ],
)
def test_what_is_no_task_is_refused(task, message):
    recipe = parse_recipe(
        {"task": task, "teacher": {"network": "toy"}, "losses": [{"loss": "mse", "weight": 1}]}, "recipe"
    )
    with pytest.raises(RecipeError, match=message):
        make_task(recipe.task)


def test_a_term_that_needs_identities_is_refused(points, tmp_path):
    recipe = write_recipe(tmp_path / "r.yaml", {"loss": "ekd", "weight": 1}, network="cnn_tiny")
    recipe.write_text("task: landmarks\n" + recipe.read_text())
    line = error_line(cakd(*arguments(points, tmp_path / "out", "--distill", recipe)))
    assert "term 'ekd' needs the identity of each image, and task landmarks has none" in line


@pytest.mark.parametrize("view", ["mirror", "affine", "mix", {"kind": "eye_strip", "rest": "zoom"}])
@pytest.mark.parametrize("side", ["both", "student"])
def test_a_view_that_moves_pixels_is_refused_since_the_points_would_stay(view, side):
    content = {"task": "landmarks", "teacher": {"network": "toy"}, "losses": [{"loss": "mse", "weight": 1}]}
    with pytest.raises(RecipeError, match=r"recipe: views: \w+ moves pixels, and the target of task landmarks would"):
        task_of(parse_recipe(content | {"views": {side: [view]}}, "recipe"))
    task_of(parse_recipe(content | {"views": {"teacher": [view], "student": ["eye_strip", "colour"]}}, "recipe"))
