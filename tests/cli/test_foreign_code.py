"""Code that a recipe or a command names may do anything: the run ends in one line that names it, with its place."""

import re
import sys
import textwrap

import pytest
import torch
import yaml

from insightface_cakd.hosts.embedded.backbones import get_model
from tests.commands import cakd, refused, train, write_recipe

PARTS = """
    import sys

    import torch
    from torch import nn

    from insightface_cakd.distill.sources import Source
    from insightface_cakd.losses import DistillLoss
    from insightface_cakd.tasks.task import Task


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.calls = nn.Linear(3, 64), 0

        def forward(self, images):
            return self.fc(images.mean((2, 3)))


    class Later(Net):
        def forward(self, images):
            self.calls += 1
            if self.calls > 3:
                raise IndexError("a later\\nbatch")
            return super().forward(images)


    class LeavesLater(Later):
        def forward(self, images):
            try:
                return super().forward(images)
            except IndexError:
                sys.exit(0)


    class CannotMove(Net):
        def to(self, *args, **kwargs):
            raise RuntimeError("bound to its place")


    class Sparse(Net):
        def forward(self, images):
            return super().forward(images).to_sparse()


    class OnMeta(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 64, device="meta")


    def build():
        raise ValueError("no weights\\nhere")


    def leaves():
        sys.exit(0)


    def needs(width):
        return Net()


    class Divides(DistillLoss):
        def compute(self, student, teacher, labels):
            return 1 / 0


    class Rows(DistillLoss):
        def compute(self, student, teacher, labels):
            return (student - teacher).square().mean(1)


    class Forgets(DistillLoss):
        def __init__(self):
            pass


    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):
            return value.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise ValueError("no way back")


    class OneWay(DistillLoss):
        def compute(self, student, teacher, labels):
            return Backward.apply(student.sum())


    class Empty(Source):
        offers = ("own",)


    class Nothing(Source):
        offers = ("own",)

        def forward(self, context):
            return None


    class Number(Source):
        offers, name = ("own",), "own"

        def build(self, blank):
            return 5


    class View:
        def __call__(self, images, generator):
            return images[:1]


    class Exits:
        def __call__(self, images, generator):
            sys.exit(2)


    class Listed(Task):
        def data(self, request):
            return [1, 2, 3]


    class Instance(Task):
        def head(self, host_head):
            return nn.Linear(3, 3)


    class Filled(Task):
        def fill(self, cfg):
            raise AttributeError("no such key")


    class Measured(Task):
        def measures(self, folder, names):
            return {"own": lambda step, network: 5}


    def projector(student, teacher):
        return 5
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, with parts of a user's own beside the weights of a teacher."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hostile_parts.py").write_text(textwrap.dedent(PARTS))
    torch.save(get_model("vit_tiny", num_features=64).state_dict(), tmp_path / "teacher.pt")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("hostile_parts", None)


AT = r"hostile_parts\.py:\d+"


def stops(run, message):
    """Check that a run that has begun ends in exit code 1 and one line."""
    ran = cakd(*run)
    assert ran.code == 1
    last = ran.err.splitlines()[-1]
    assert "Traceback" not in ran.err, ran.err
    assert re.search(message, last), last


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("build", rf"teacher\.network hostile_parts:build: cannot be built \(ValueError: no weights here at .*{AT}\)"),
        ("leaves", rf".*cannot be built \(SystemExit: 0 at .*{AT}\); expected it to build the network"),
        ("needs", r".*cannot be built \(TypeError: needs\(\) missing 1 required positional argument: 'width'\)"),
        ("CannotMove", rf"teacher hostile_parts:CannotMove: fails \(RuntimeError: bound to its place at .*{AT}\)"),
        ("OnMeta", r"teacher hostile_parts:OnMeta: fails \(NotImplementedError: Cannot copy out of meta tensor"),
        ("Sparse", r".*its embeddings are torch\.float32, torch\.sparse_coo, on cpu; expected floating-point numbers"),
    ],
)
def test_a_teacher_that_cannot_be_had(name, message, here, face_set):
    write_recipe(here / "own.yaml", network=f"hostile_parts:{name}")
    refused(train(face_set, "--distill", "own.yaml"), message, here)


@pytest.mark.parametrize(
    ("name", "message"),
    [("Later", rf"\(IndexError: a later batch at .*{AT}\)"), ("LeavesLater", rf"\(SystemExit: 0 at .*{AT}\)")],
)
def test_a_teacher_that_stops_in_the_middle_of_a_run(name, message, here, face_set):
    write_recipe(here / "own.yaml", network=f"hostile_parts:{name}")
    stops(
        train(face_set, "--distill", "own.yaml"), rf"teacher hostile_parts:{name}: fails {message}; expected embeddings"
    )


@pytest.mark.parametrize(
    "text", ["raise RuntimeError('at\\nonce')", "import sys; sys.exit(0)", "def f(:", "x = '\0'", "raise BaseException"]
)
@pytest.mark.parametrize("part", ["teacher", "loss"])
def test_a_module_that_cannot_be_imported(text, part, here, face_set):
    (here / "hostile_module.py").write_text(text)
    message = r".* is 'hostile_module:f': cannot import hostile_module \(\w+"
    if part == "teacher":
        write_recipe(here / "own.yaml", network="hostile_module:f")
    else:
        write_recipe(here / "own.yaml", {"loss": "hostile_module:f", "weight": 1})
    refused(train(face_set, "--distill", "own.yaml"), message, here)


OWN = {"loss": "cosine", "weight": 1}


@pytest.mark.parametrize(
    ("term", "more", "message"),
    [
        ({"loss": "hostile_parts:Divides"}, {}, rf"term 'divides': .* fails \(ZeroDivisionError: .* at .*{AT}\)"),
        (
            {"loss": "hostile_parts:Rows"},
            {},
            r"term 'rows': loss hostile_parts:Rows: gives \(12,\) for a batch; expected one number",
        ),
        (
            {"loss": "hostile_parts:Forgets"},
            {},
            r"term 'forgets': loss hostile_parts:Forgets: fails \(AttributeError: ",
        ),
        ({"loss": "hostile_parts:OneWay"}, {}, rf"{AT}: stopped the run \(ValueError: no way back\); expected code"),
        ({"reads": "own"}, {"sources": ["hostile_parts:Empty"]}, r"source Empty: fails \(KeyError: 'own\.student'\)"),
        ({"reads": "own"}, {"sources": ["hostile_parts:Nothing"]}, r"source Nothing: fails \(TypeError: 'NoneType'"),
        (
            {"reads": "own"},
            {"sources": ["hostile_parts:Number"]},
            r"source Number: fails \(TypeError: int is not a Module",
        ),
        (
            {},
            {"views": {"student": ["hostile_parts:View"]}},
            r"view View: gives \(1, 3, 112, 112\) for images \(12, 3, 112, 112\)",
        ),
        ({}, {"views": {"both": ["hostile_parts:Exits"]}}, rf"view Exits: fails \(SystemExit: 2 at .*{AT}\)"),
        ({}, {"task": "hostile_parts:Listed"}, r"its data, a list, have no set_epoch; expected batches"),
        ({}, {"task": "hostile_parts:Instance"}, r"its head is a Linear; expected a class of torch\.nn\.Module"),
        ({}, {"task": "hostile_parts:Filled"}, rf"{AT}: stopped the run \(AttributeError: no such key\)"),
        ({}, {"task": "hostile_parts:Measured"}, r"measure own: gives a int; expected an insightface_cakd\.report"),
        (
            {"projector": "hostile_parts:projector"},
            {},
            r"projector hostile_parts:projector: is a int; expected a torch",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_part_of_a_recipe_that_fails_or_answers_anything(term, more, message, here, face_set):
    write_recipe(here / "own.yaml", OWN | term)
    content = yaml.safe_load((here / "own.yaml").read_text()) | more
    (here / "own.yaml").write_text(yaml.safe_dump(content))
    stops(train(face_set, "--distill", "own.yaml", "--teacher", "teacher.pt"), message)


def test_a_config_that_leaves(here, face_set):
    (here / "job.py").write_text("import sys\nconfig = {}\nsys.exit(0)\n")
    run = ["train", "job.py", "--data", face_set, "--output", "out"]
    refused(run, r"config job\.py: cannot be run \(SystemExit: 0 at .*job\.py:3\); expected Python that sets", here)


def test_a_fault_of_this_package_shows_its_traceback_and_says_whose_it_is(here, monkeypatch):
    monkeypatch.setattr("insightface_cakd.recipe.reading.check_parts", None)
    ran = cakd("recipes", "check", "cosine")
    assert ran.code == 1
    assert ran.err.startswith("Traceback")
    last = ran.err.splitlines()[-1]
    assert last.startswith("cakd: a fault of insightface_cakd ")
    assert "(TypeError: 'NoneType' object is not callable), not of what it was given; please report it" in last
    assert last.endswith("this command: cakd recipes check cosine")
