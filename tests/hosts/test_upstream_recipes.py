"""Every shipped recipe trains on an unmodified checkout; those of the tiny networks with r18 and vit_t in their place."""

import json

import pytest
import torch
import yaml

from insightface_cakd.export.onnx import export_onnx
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe, recipe_name, shipped_recipes, with_stages
from insightface_cakd.recipe.settings import given as with_weights
from insightface_cakd.tasks.precompute import cache_teacher, make_prototypes
from tests.tasks.task_data import task_data

pytestmark = [pytest.mark.upstream, pytest.mark.slow]
WIDTH, CLASSES = 64, 12
TAUGHT = {"teacher": {"network": "vit_t"}, "losses": [{"loss": "cosine", "weight": 1}]}
# Swin and the tasks of periocular recognition and liveness have tests of their own, and the quickstart is CAKD again.
RECIPES = [
    path
    for path in shipped_recipes()
    if "swin" not in path.stem
    and path.stem != "quickstart"
    and load_recipe(str(path)).task.kind not in ("periocular", "liveness")
]


@pytest.fixture(scope="module")
def files(face_set, tmp_path_factory):
    """Give each kind of teacher, and what recipes need besides, its file."""
    folder = tmp_path_factory.mktemp("given")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torch.save(get_model("vit_t", num_features=WIDTH).state_dict(), folder / "vit_t.pt")
        torch.save({"weight": torch.randn(CLASSES, WIDTH)}, folder / "centres.pt")
        export_onnx(get_model("mbf", num_features=WIDTH).eval(), folder / "teacher.onnx", {})
    (folder / "taught.yaml").write_text(yaml.safe_dump(TAUGHT))
    given = str(folder / "taught.yaml"), face_set
    cache_teacher(*given, folder / "cached", with_weights(teacher=str(folder / "vit_t.pt")))
    make_prototypes(*given, folder / "prototypes", with_weights(teacher=str(folder / "vit_t.pt")))
    return folder


@pytest.mark.parametrize("path", RECIPES, ids=recipe_name)
def test_a_recipe_takes_finite_steps_and_leaves_a_plain_student(path, files, run, folder, face_set):
    content = yaml.safe_load(path.read_text())
    for teacher in content.get("teachers", {"teacher": content.get("teacher")}).values():
        teacher["network"] = teacher["network"].replace("vit_tiny", "vit_t")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(content))
    recipe = load_recipe("recipe.yaml")
    network = recipe.teacher.network
    own = recipe.student
    adapts, staged = own is not None and own.lora is not None, own is not None and bool(own.stages)
    # Low-rank updates are for Transformers.
    small = path.stem.endswith("mbf") or ("ablations" in path.parts and "layer4" not in path.read_text())
    student = "vit_t" if adapts else "mbf" if small else "r18"
    output = run(
        "out",
        f"network={student!r}",
        "num_image=24",
        f"rec={str(task_data(recipe.task.kind, face_set, folder / 'data'))!r}",
        distill="recipe.yaml",
        teacher=str(files / {"onnx": "teacher.onnx", "cached": "cached"}.get(network, "vit_t.pt")),
        centres=(str(files / "centres.pt"),) if any(one.needs_centres for one in with_stages(recipe)) else (),
        prototypes=str(files / "prototypes") if recipe.needs_prototypes else None,
        init=str(files / "vit_t.pt") if adapts else None,
        # Stages have recipes of their own, which take what is said of the teacher from here.
        changes=("teacher.network=vit_t",) if staged else (),
    )
    state = torch.load(output / "model.pt", weights_only=True)
    saved = json.loads((output / "run.json").read_text())
    get_model(student, num_features=saved["config"]["embedding_size"]).load_state_dict(state, strict=True)
    assert all(torch.isfinite(value).all() for value in state.values())
    assert saved["recipe"]["teacher"]["network"] == network
