"""`seam.enter`: what a patched `train_v2.py` calls before its own `main`."""

import re
from types import SimpleNamespace

import pytest
import torch

from insightface_cakd import seam
from insightface_cakd.distill.student import DistilledStudent
from tests.toy import WIDTH, Toy, toy_host

RECIPE = "teacher:\n  network: toy\nlosses:\n  - loss: cosine\n    weight: 20\n"


@pytest.fixture
def script(tmp_path):
    """A namespace as `train_v2.py` has it: the three names, `get_config`, and where this process stands among the ranks."""
    cfg = SimpleNamespace(output=str(tmp_path / "out"), rec=str(tmp_path), frequent=1, resume=False, seed=0)
    names = {"get_config": lambda path: cfg if path == "configs/mine" else None, "rank": 0, "local_rank": 0}
    return SimpleNamespace(**vars(toy_host()), **names)


@pytest.fixture
def recipe(tmp_path):
    torch.manual_seed(5)
    torch.save(Toy(WIDTH).state_dict(), tmp_path / "teacher.pt")
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return str(tmp_path / "mine.yaml"), str(tmp_path / "teacher.pt")


def one_step(script):
    student = script.get_model("toy", dropout=0.0, fp16=False, num_features=WIDTH).train()
    head = script.PartialFC_V2(script.CombinedMarginLoss(64, 1.0, 0.5, 0.0, 0), WIDTH, 11, 1.0, False)
    images = torch.rand(4, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    loss = head(student(images), torch.arange(4))
    loss.backward()
    return student, loss


def test_the_scripts_own_names_distil_from_then_on(script, recipe, tmp_path):
    distillation = seam.enter(script, "configs/mine", *recipe)
    student, loss = one_step(script)
    assert isinstance(student, DistilledStudent)
    raw = distillation.step.raw
    assert loss.item() == pytest.approx(float(raw["margin"]) + 20 * float(raw["cosine"]), rel=1e-5)
    distillation.monitor.close()
    assert list((tmp_path / "out" / "tensorboard" / "distill").glob("events.*"))


def test_schedules_count_as_the_script_plans_and_the_student_starts_from_a_file(script, recipe, tmp_path):
    """49 images, 2 ranks of 4: 6 steps an epoch."""
    torch.manual_seed(6)
    first = Toy(WIDTH)
    torch.save(first.state_dict(), tmp_path / "first.pt")
    (tmp_path / "mine.yaml").write_text(RECIPE + "    schedule: {kind: by_epoch, epochs: 2}\n")
    cfg = SimpleNamespace(**vars(script.get_config("configs/mine")), num_image=49, batch_size=4, num_epoch=3)
    script.get_config, script.world_size = lambda _: cfg, 2
    step = seam.enter(script, "configs/mine", *recipe, init=str(tmp_path / "first.pt")).step
    assert (step.length.epoch, step.length.total) == (6, 18)
    state = script.get_model("toy", num_features=WIDTH).state_dict()
    assert all(torch.equal(value, state[key]) for key, value in first.state_dict().items())


def test_only_the_first_rank_logs(script, recipe, tmp_path):
    script.rank = 1
    seam.enter(script, "configs/mine", *recipe)
    one_step(script)
    assert not (tmp_path / "out").exists()


def test_a_check_set_is_found_in_the_runs_data_folder_and_measured_by_the_first_rank_alone(
    script, recipe, face_set, tmp_path, capsys
):
    path, teacher = recipe
    (tmp_path / "dev.bin").write_bytes((face_set / "dev.bin").read_bytes())
    text = RECIPE.replace("network: toy", "network: toy\n  check: {bin: dev.bin, floor: 0.1}")
    (tmp_path / "mine.yaml").write_text(text)
    seam.enter(script, "configs/mine", path, teacher)
    assert re.search(r"^  teacher  toy, \d+\.\d\d % on dev, ", capsys.readouterr().out, re.MULTILINE)
    other = SimpleNamespace(**{**vars(script), **vars(toy_host()), "rank": 1})
    seam.enter(other, "configs/mine", path, teacher)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere",), r"^train_v2\.py: error: recipe nowhere: no such file"),
        (
            (None, "teacher.pt"),
            r"^train_v2\.py: error: --teacher, --centres, --prototypes or --init without --distill; expected a recipe\. Add --distill",
        ),
        (("cosine", "nowhere.pt"), r"^train_v2\.py: error: .*nowhere\.pt"),
    ],
)
def test_a_mistake_ends_the_script_in_one_line_with_nothing_replaced(arguments, message, script):
    before = dict(vars(script))
    with pytest.raises(SystemExit, match=message) as ended:
        seam.enter(script, "configs/mine", *arguments)
    assert "\n" not in str(ended.value)
    assert vars(script) == before
