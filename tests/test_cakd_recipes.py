"""The recipes of the paper's networks: each trains unedited, what it leaves is the plain student, each ablation changes one thing."""

from collections import Counter

import onnx
import pytest
import torch

from insightface_cakd.export.onnx import export_onnx
from insightface_cakd.export.student import export_run
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe, recipe_name, shipped_recipes
from insightface_cakd.tasks.launch import train
from tests.jobs import job

WIDTH = 64
BASE = {f"cakd_{teacher}_{student}": student for teacher in ("vit", "swin") for student in ("mbf", "r18")}
SETTINGS = {
    "batch_size": 2, "num_epoch": 1, "warmup_epoch": 0, "num_workers": 0, "frequent": 1, "device": "cpu",
    "embedding_size": WIDTH, "val_targets": [], "save_all_states": True,
}  # fmt: skip
ONE_VALUE = {
    "no_fpe": ("urfm.bias", "none"),
    "sd_only": ("urfm.structure", "saliency"),
    "rd_only": ("urfm.structure", "relative"),
    "prompts_1": ("teacher.prompts.tokens", 1),
    "prompts_4": ("teacher.prompts.tokens", 4),
    "prompts_16": ("teacher.prompts.tokens", 16),
}
ABLATIONS = [*ONE_VALUE, "no_apt", "no_urfm"]


def values(recipe):
    """Return every value of a recipe under its dotted name, but for what it says about itself."""
    found = {}

    def walk(name, value):
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}.{key}" if name else key, inner)
        else:
            found[name] = value

    walk("", recipe.model_dump(exclude={"about"}))
    return found


def losses(recipe):
    return {term.loss: term.weight for term in recipe.losses}


def test_the_set_is_whole():
    shipped = {recipe_name(path) for path in shipped_recipes()}
    assert shipped >= {"cakd", "urfm", *BASE}
    ablations = {name for name in shipped if name.startswith("ablations/cakd_")}
    assert ablations == {f"ablations/cakd_{name}" for name in ABLATIONS}


@pytest.mark.parametrize("name", BASE)
def test_the_papers_sizes_are_said(name):
    recipe = load_recipe(name)
    assert (recipe.urfm.centres, recipe.urfm.width, recipe.urfm.heads) == (49, 512, 8)
    assert (recipe.teacher.prompts.tokens, recipe.teacher.prompts.placement) == (8, "stage")
    assert losses(recipe) == losses(load_recipe("cakd_vit_mbf"))
    assert "inferred" in recipe.about


@pytest.mark.parametrize("name", ONE_VALUE)
def test_an_ablation_changes_one_value(name):
    key, value = ONE_VALUE[name]
    assert values(load_recipe(f"ablations/cakd_{name}")) == values(load_recipe("cakd_vit_mbf")) | {key: value}


def test_without_prompts_the_teacher_is_read_by_a_tap_and_has_no_anchor():
    recipe, base = load_recipe("ablations/cakd_no_apt"), load_recipe("cakd_vit_mbf")
    assert recipe.teacher == base.teacher.model_copy(update={"prompts": None})
    assert recipe.urfm == base.urfm.model_copy(update={"teacher": "norm"})
    assert losses(recipe) == {name: weight for name, weight in losses(base).items() if name != "prompt_anchor"}


def test_without_fields_the_same_taps_are_compared_place_by_place():
    recipe, base = load_recipe("ablations/cakd_no_urfm"), load_recipe("cakd_vit_mbf")
    assert (recipe.urfm, recipe.teacher.prompts, recipe.teacher.network) == (None, None, base.teacher.network)
    pixels, cosine = recipe.losses
    assert (pixels.loss, pixels.student) == ("fitnet", base.urfm.student)
    assert (cosine.loss, cosine.weight) == ("cosine", losses(base)["cosine"])


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Untrained weights of each teacher, drawn once."""
    folder, written = tmp_path_factory.mktemp("teachers"), {}

    def weights(network):
        if network not in written:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(3)
                written[network] = folder / f"{len(written)}.pt"
                torch.save(get_model(network, num_features=WIDTH).state_dict(), written[network])
        return written[network]

    return weights


@pytest.fixture
def distil(four_faces, teachers, tmp_path):
    """Run a recipe unedited; return the run's folder."""

    def run(recipe, student):
        told = {**SETTINGS, "network": student, "rec": str(four_faces), "output": str(tmp_path / "run")}
        weights = teachers(load_recipe(recipe).teacher.network)
        settings = tuple(f"{key}={value!r}" for key, value in told.items())
        assert train(job("faces_cnn_tiny", recipe, str(weights), settings=settings)).steps == 2
        return tmp_path / "run"

    return run


def structure(path):
    """Return a graph's operators with their numbers, and its weights' shapes."""
    graph = onnx.load(path).graph
    return Counter(node.op_type for node in graph.node), sorted(tuple(weight.dims) for weight in graph.initializer)


@pytest.mark.parametrize(
    "recipe", [name if name == "cakd_vit_mbf" else pytest.param(name, marks=pytest.mark.slow) for name in BASE]
)
def test_a_recipe_trains_unedited_and_exports_a_plain_student(recipe, distil, tmp_path):
    run = distil(recipe, BASE[recipe])
    plain = get_model(BASE[recipe], num_features=WIDTH)
    state = torch.load(run / "model.pt", weights_only=True)
    assert list(state) == list(plain.state_dict())
    plain.load_state_dict(state, strict=True)
    export_run(run, tmp_path / "student.onnx", get_model)
    export_onnx(plain, tmp_path / "plain.onnx", {})
    assert structure(tmp_path / "student.onnx") == structure(tmp_path / "plain.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_trains_unedited(name, distil):
    state = torch.load(distil(f"ablations/cakd_{name}", "mbf") / "model.pt", weights_only=True)
    get_model("mbf", num_features=WIDTH).load_state_dict(state, strict=True)
