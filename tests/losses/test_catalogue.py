"""The catalogue: a loss is its file alone, what is known of it without torch is true, and one of another package is as good."""

import importlib
import inspect
import pkgutil
import shutil
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

import insightface_cakd
from insightface_cakd import losses
from insightface_cakd.errors import RecipeError
from insightface_cakd.losses import LOSSES, DistillLoss, LossFacts, facts_of
from insightface_cakd.recipe import Recipe, parse_recipe

PACKAGE = Path(insightface_cakd.__file__).parent
OWN = """
from typing import Annotated

import torch
from pydantic import Field

from insightface_cakd.losses import DistillLoss


class HTTPNormLoss(DistillLoss):
    paper = "mine"
    gathers = True

    def __init__(self, power: Annotated[float, Field(gt=0)] = 1.0, axis: int = 1):
        super().__init__()
        self.power = power

    def compute(self, student, teacher, labels):
        return ((student.norm(dim=1) - teacher.norm(dim=1)).abs() ** self.power).mean()


class Named(HTTPNormLoss):
    name = "norm"


not_a_loss = torch.nn.ReLU
"""


@pytest.fixture
def my_losses(tmp_path, monkeypatch):
    """Another package, with losses in it; returns the name of their module."""
    (tmp_path / "other_package").mkdir()
    (tmp_path / "other_package" / "__init__.py").touch()
    (tmp_path / "other_package" / "losses.py").write_text(OWN)
    (tmp_path / "other_package" / "broken.py").write_text("import torhc")
    monkeypatch.syspath_prepend(tmp_path)
    yield "other_package.losses"
    for name in [name for name in sys.modules if name.startswith("other_package")]:
        del sys.modules[name]


def content(loss, **options):
    return {"teacher": {"network": "r50"}, "losses": [{"loss": loss, "weight": 1, **options}]}


def test_every_class_that_states_a_name_is_found():
    for found in pkgutil.iter_modules(losses.__path__):
        importlib.import_module(f"{losses.__name__}.{found.name}")
    waiting, classes = [DistillLoss], {}
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if kind.__module__.startswith(losses.__name__) and vars(kind).get("name"):
            classes[kind.name] = kind
    assert dict(LOSSES) == classes
    assert list(LOSSES) == sorted(LOSSES)


def test_what_is_known_without_torch_is_what_the_class_says():
    for name, kind in LOSSES.items():
        says_the_same(name, facts_of(name), kind)


def says_the_same(name, facts, kind):
    assert not issubclass(facts, DistillLoss)
    for attribute in (attribute for attribute in vars(LossFacts) if not attribute.startswith("__")):
        assert getattr(facts, attribute) == getattr(kind, attribute) or attribute == "title"
    assert facts.title() == kind.title() == name
    if "__init__" in vars(kind):
        theirs = inspect.signature(kind).parameters
        assert {key: one.default for key, one in inspect.signature(facts).parameters.items()} == {
            key: one.default for key, one in theirs.items()
        }
        assert get_type_hints(facts.__init__).items() == get_type_hints(kind.__init__).items() - {
            ("return", type(None))
        }


def test_a_loss_of_another_package_is_named_by_its_class(my_losses):
    recipe = parse_recipe(content(f"{my_losses}:HTTPNormLoss", power=2.0), "recipe")
    term = recipe.losses[0]
    assert (term.name, term.facts.gathers, term.build_loss().power) == ("http_norm_loss", True, 2.0)
    assert parse_recipe(content(f"{my_losses}:Named"), "recipe").losses[0].name == "norm"
    assert LOSSES[term.loss] is term.facts
    assert Recipe.model_validate(recipe.model_dump()) == recipe


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (":HTTPNormLoss", {}, r"is ':HTTPNormLoss'; expected a loss as package\.module:Name\."),
        (
            "my_pakcage.losses:A",
            {},
            r"is 'my_pakcage.losses:A': cannot import my_pakcage\.losses \(ModuleNotFoundError: ",
        ),
        (
            "other_package.broken:A",
            {},
            r"cannot import other_package\.broken \(ModuleNotFoundError: No module named 'torhc'",
        ),
        (
            "other_package.losses:HTTPLoss",
            {},
            r"other_package\.losses has no HTTPLoss; .* Did you mean 'HTTPNormLoss'\?",
        ),
        ("other_package.losses:not_a_loss", {}, r"which is no loss; expected a subclass of .*\.DistillLoss\."),
        ("other_package.losses:Named", {"powr": 2.0}, r"powr is not a key of norm; .* Did you mean 'power'\?"),
        ("other_package.losses:Named", {"power": 0}, r"losses\[0\]: norm: power is 0; expected greater than 0\."),
        ("other_package.losses:Named", {"axis": 1.5}, r"losses\[0\]: norm: axis is 1\.5; expected a valid integer"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(loss, options, message, my_losses):
    with pytest.raises(RecipeError, match=message) as caught:
        parse_recipe(content(loss, **options), "recipe")
    assert str(caught.value).startswith("recipe: losses[0]")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "old", "new", "value"),
    [
        ("gkd", "tau", "share", 0.9),
        ("ekd", "tau", "temperature", 0.02),
        ("qud", "tau", "temperature", 0.2),
        ("relation_aware", "q", "slack", 0.0),
        ("darkrank", "alpha", "sharpness", 2.0),
        ("darkrank", "beta", "power", 2.5),
    ],
)
def test_earlier_names_of_options_are_read_for_ever(loss, old, new, value):
    term = parse_recipe(content(loss, **{old: value}), "recipe").losses[0]
    assert term.options == {new: value}
    saved = term.model_dump() | {"options": {old: value}}
    assert type(term).model_validate(saved) == term
    with pytest.raises(RecipeError, match="are names of one option; expected one of them"):
        parse_recipe(content(loss, **{new: value, old: value}), "recipe")


def test_two_files_of_one_name_are_refused(tmp_path, monkeypatch):
    folder = shutil.copytree(PACKAGE / "losses", tmp_path / "losses")
    (folder / "zz.py").write_text((folder / "cosine.py").read_text())
    monkeypatch.setattr(losses.catalogue, "FOLDER", folder)
    with pytest.raises(RecipeError, match=r"losses\.zz: 'cosine' is the name of a loss of .*losses\.cosine too"):
        losses.catalogue._named.__wrapped__()


def test_a_constructor_that_cannot_be_read_without_torch_is_refused_with_its_line(tmp_path, monkeypatch):
    folder = shutil.copytree(PACKAGE / "losses", tmp_path / "losses")
    (folder / "zz.py").write_text(OWN.replace("axis: int = 1", "axis: torch.dtype = torch.half"))
    monkeypatch.setattr(losses.catalogue, "FOLDER", folder)
    with pytest.raises(
        RecipeError, match=r"zz\.py:14: HTTPNormLoss\.__init__ needs 'torch', which is not known without torch"
    ):
        losses.catalogue._outline.__wrapped__("insightface_cakd.losses.zz")
