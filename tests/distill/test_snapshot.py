"""A run's two snapshots: what they hold, when they are written, and the student that is built of them again."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from insightface_cakd.distill.snapshot import AFTER, BEFORE, put, read_snapshot, rebuild, snapshots_of
from insightface_cakd.distill.sources.fields import fields_of
from insightface_cakd.errors import RunError, ShapeError, TeacherError
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.tasks import seam
from insightface_cakd.teachers import build_teacher
from tests.toy import WIDTH, Toy, toy_host

FIELDS = {"student": "conv", "teacher": "conv", "centres": 4, "width": 8, "heads": 2}
LOSSES = [{"loss": f"urfm_{name}", "weight": 20} for name in ("attention", "feature", "anchor")]
CPU = torch.device("cpu")


@pytest.fixture
def place(tmp_path):
    """A folder with a teacher's file, and the config of a run in it."""
    torch.manual_seed(5)
    torch.save(Toy(WIDTH, 4).state_dict(), tmp_path / "teacher.pt")
    return SimpleNamespace(output=str(tmp_path / "out"), rec=str(tmp_path / "data"), val_targets=["dev"], frequent=1)


def toy_recipe(place, losses=LOSSES, urfm=FIELDS):
    weights = str(Path(place.output).parent / "teacher.pt")
    content = {"teacher": {"network": "toy", "weights": weights}, "losses": losses}
    return parse_recipe(content | ({} if urfm is None else {"urfm": urfm}), "recipe")


def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(6, 3, 112, 112, generator=generator) * 2 - 1, torch.arange(6)


def run(place, steps=2, state=None, recipe=None, seed=0):
    """Take steps as a training loop does, with a recipe installed; return student and head as they are then."""
    recipe, host = recipe or toy_recipe(place), toy_host()
    teacher = build_teacher(recipe.teacher, host.get_model, CPU)
    torch.manual_seed(seed)
    with seam.installed(host, recipe, {"teacher": teacher}, snapshots=snapshots_of(recipe, teacher, place)):
        student = host.get_model("toy", dropout=0.0, fp16=False, num_features=WIDTH)
        head = host.PartialFC_V2(host.CombinedMarginLoss(64, 1.0, 0.5, 0.0, 0), WIDTH, 11, 1.0, False)
        if state is not None:
            student.load_state_dict(state[0])
            head.load_state_dict(state[1])
        student.eval()(batch()[0])
        optimizer = torch.optim.SGD([*student.parameters(), *head.parameters()], lr=0.01)
        for _ in range(steps):
            head.train()(student.train()(batch()[0]), batch()[1]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return student, head


def initial(place):
    """Return the student as it is built, without a step."""
    return run(SimpleNamespace(**{**vars(place), "output": place.output + "_0"}), steps=0)[0]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def files(place):
    folder = Path(place.output)
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_the_first_is_the_method_as_it_was_built_and_the_last_as_it_was_trained(place):
    student, _ = run(place)
    before, after = (read_snapshot(Path(place.output) / name) for name in (BEFORE, AFTER))
    assert (before.step, after.step) == (0, 2)
    assert same(before.student, initial(place).state_dict())
    assert same(before.method, initial(place).method.state_dict())
    assert same(after.student, student.state_dict())
    assert same(after.method, student.method.state_dict())
    assert not same(before.method, after.method)


def test_they_say_what_the_run_was_made_of(place, monkeypatch):
    monkeypatch.chdir(Path(place.output).parent)
    place.rec = "data"
    run(place, recipe=toy_recipe(SimpleNamespace(output="out")))
    origin = read_snapshot(Path(place.output) / AFTER).origin
    assert (origin.network, origin.embedding_size, origin.val_targets) == ("toy", WIDTH, ["dev"])
    assert origin.rec == str(Path.cwd() / "data")
    assert origin.parsed.teacher.weights == str(Path.cwd() / "teacher.pt")
    assert origin.parsed.urfm.centres == 4
    assert len(origin.teacher_sha256) == 64


def test_a_resumed_run_keeps_the_first_and_writes_the_last_anew(place):
    student, head = run(place)
    first = files(place)
    state = ({k: v.clone() for k, v in student.state_dict().items()}, dict(head.state_dict()))
    run(place, steps=3, state=state, seed=4)
    second = files(place)
    assert first[BEFORE] == second[BEFORE]
    assert read_snapshot(Path(place.output) / AFTER).step == 5


def test_a_run_that_fails_has_no_last(place):
    recipe, host = toy_recipe(place), toy_host()
    teacher = build_teacher(recipe.teacher, host.get_model, CPU)

    def meet_a_broken_batch():
        with seam.installed(host, recipe, {"teacher": teacher}, snapshots=snapshots_of(recipe, teacher, place)):
            host.get_model("toy", num_features=WIDTH).train()(batch()[0].flatten())

    with pytest.raises(ShapeError):
        meet_a_broken_batch()
    assert set(files(place)) == {BEFORE}


def test_a_new_run_in_an_old_folder_takes_the_old_runs_last_away(place):
    run(place)
    recipe, host = toy_recipe(place), toy_host()
    teacher = build_teacher(recipe.teacher, host.get_model, CPU)
    seam.install(host, recipe, {"teacher": teacher}, snapshots=snapshots_of(recipe, teacher, place))
    host.get_model("toy", num_features=WIDTH).train()(batch()[0])
    assert set(files(place)) == {BEFORE}


def test_a_loop_that_builds_no_student_or_takes_no_step_has_no_first(place):
    run(place, steps=0)
    assert set(files(place)) == {AFTER}
    recipe, host = toy_recipe(place), toy_host()
    teacher = build_teacher(recipe.teacher, host.get_model, CPU)
    place.output += "_2"
    with seam.installed(host, recipe, {"teacher": teacher}, snapshots=snapshots_of(recipe, teacher, place)):
        pass
    assert files(place) == {}


def test_a_recipe_without_fields_and_prompts_has_none(place):
    run(place, recipe=toy_recipe(place, [{"loss": "cosine", "weight": 1}], None))
    assert files(place) == {}


def test_writing_them_changes_nothing_of_the_training(place, monkeypatch):
    with_them = run(place)[0].state_dict()
    monkeypatch.setitem(globals(), "snapshots_of", lambda *_: None)
    assert same(with_them, run(place)[0].state_dict())


def test_the_student_built_of_one_sees_and_says_what_the_runs_did(place):
    student, _ = run(place)
    after = read_snapshot(Path(place.output) / AFTER)
    again = rebuild(after.origin, toy_host().get_model, CPU)
    put(again, after)
    images = batch()[0]
    student.eval()
    assert torch.equal(again(images), student(images))
    for side, (tokens, grid) in fields_of(student.sources).tokens(student.observe(images)).items():
        assert str(grid) == "7x7"
        looks = student.method["urfm"].looks(tokens, side)
        assert torch.equal(
            again.method["urfm"].looks(fields_of(again.sources).tokens(again.observe(images))[side][0], side), looks
        )


def test_building_it_leaves_the_random_numbers_alone(place):
    run(place)
    origin = read_snapshot(Path(place.output) / AFTER).origin
    before = torch.get_rng_state()
    rebuild(origin, toy_host().get_model, CPU)
    assert torch.equal(torch.get_rng_state(), before)


class TestATeacher:
    def test_that_was_moved_is_named(self, place):
        run(place)
        origin = read_snapshot(Path(place.output) / AFTER).origin
        file = Path(origin.parsed.teacher.weights)
        moved = file.rename(file.with_name("moved.pt"))
        with pytest.raises(TeacherError, match=r"teacher\.pt: does not exist.*--teacher FILE"):
            rebuild(origin, toy_host().get_model, CPU)
        rebuild(origin, toy_host().get_model, CPU, str(moved))

    def test_that_is_another_is_refused(self, place):
        run(place)
        origin = read_snapshot(Path(place.output) / AFTER).origin
        torch.save(Toy(WIDTH, 4).state_dict(), origin.parsed.teacher.weights)
        with pytest.raises(TeacherError, match="sha256"):
            rebuild(origin, toy_host().get_model, CPU)


class TestAFile:
    def test_that_is_missing(self, tmp_path):
        with pytest.raises(RunError, match=r"cakd_before\.pt: does not exist; expected .* at its first step"):
            read_snapshot(tmp_path / BEFORE)
        with pytest.raises(RunError, match=r"cakd_after\.pt: does not exist; expected .* when it ends; .*--resume"):
            read_snapshot(tmp_path / AFTER)

    def test_that_is_cut_off_or_another(self, place, tmp_path):
        run(place)
        path = Path(place.output) / AFTER
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(RunError, match=r"cakd_after\.pt: cannot be read \(.*\); expected a snapshot of a run"):
            read_snapshot(path)
        torch.save({"step": 1}, path)
        with pytest.raises(RunError, match=r"cannot be read \(KeyError: 'origin'\)"):
            read_snapshot(path)

    def test_of_another_student(self, place):
        run(place)
        after = read_snapshot(Path(place.output) / AFTER)
        student = rebuild(after.origin, toy_host().get_model, CPU)
        after.method.pop("urfm.readout.weight")
        with pytest.raises(RunError, match=r"snapshot: does not fit the student of its run \(.*readout\.weight"):
            put(student, after)
