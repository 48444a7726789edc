"""CAKD on an unmodified checkout: its own ViT learns to teach its own MobileFaceNet."""

import pytest
import torch

from insightface_cakd.distill.snapshot import AFTER, BEFORE, read_snapshot
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe import load_recipe
from insightface_cakd.show.run import look, open_run
from insightface_cakd.teachers import PromptedTeacher
from insightface_cakd.teachers.prompts import PromptSpec

pytestmark = pytest.mark.upstream
RECIPE = """\
teacher: {network: vit_t, prompts: {tokens: 2}}
urfm: {student: conv_sep, centres: 9, width: 32, heads: 4}
losses:
  - {loss: urfm_attention, weight: 1000}
  - {loss: urfm_feature, weight: 10}
  - {loss: urfm_anchor, weight: 1}
  - {loss: prompt_anchor, weight: 10}
"""


def test_fields_and_prompts_learn_travel_in_the_checkpoint_and_never_in_the_student(run, folder):
    (folder / "recipe.yaml").write_text(RECIPE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        torch.save(get_model("vit_t", num_features=64).state_dict(), folder / "teacher.pt")
    given = {"distill": "recipe.yaml", "teacher": "teacher.pt"}
    run("out", "save_all_states=true", **given)
    before = (folder / "out" / BEFORE).read_bytes()
    first = torch.load(folder / "out" / "checkpoint_gpu_0.pt", weights_only=True)["state_dict_softmax_fc"]
    run("out", "save_all_states=true", "num_epoch=2", resume=True, **given)
    second = torch.load(folder / "out" / "checkpoint_gpu_0.pt", weights_only=True)["state_dict_softmax_fc"]
    assert (int(first["cakd.step"]), int(second["cakd.step"])) == (4, 8)
    # arcface_torch's schedule has ended after the first run, so the second changes no weight.
    fresh = PromptedTeacher(get_model("vit_t", num_features=64), "vit_t", 64, "cpu", PromptSpec(tokens=2)).prompts
    for key, value in fresh.state_dict().items():
        assert not torch.equal(first[f"cakd.prompts.{key}"], value), key
        assert torch.equal(first[f"cakd.prompts.{key}"], second[f"cakd.prompts.{key}"])
    assert int(second["cakd.urfm.scaled.teacher.steps"]) > int(first["cakd.urfm.scaled.teacher.steps"]) >= 4
    student = torch.load(folder / "out" / "model.pt", weights_only=True)
    assert (folder / "out" / BEFORE).read_bytes() == before
    start, end = (read_snapshot(folder / "out" / name) for name in (BEFORE, AFTER))
    assert (start.step, end.step) == (0, 8)
    assert all(torch.equal(end.student[key], value) for key, value in student.items())
    assert all(torch.equal(start.method[f"prompts.{key}"], value) for key, value in fresh.state_dict().items())
    assert all(
        views.maps.shape[1:] == (9, *views.grid) for views in look(open_run(folder / "out", torch.device("cpu"))).views
    )
    get_model("mbf", num_features=64).load_state_dict(student, strict=True)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "student"), [("cakd_vit_r18", "r18"), ("cakd_swin_mbf", "mbf")])
def test_the_papers_recipes_train_unedited(recipe, student, run, folder, four_faces):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        teacher = get_model(load_recipe(recipe).teacher.network, num_features=64)
    torch.save(teacher.state_dict(), folder / "teacher.pt")
    settings = (f"network={student!r}", f"rec={str(four_faces)!r}", "num_classes=2", "num_image=4", "batch_size=2")
    run("out", *settings, distill=recipe, teacher="teacher.pt")
    state = torch.load(folder / "out" / "model.pt", weights_only=True)
    get_model(student, num_features=64).load_state_dict(state, strict=True)
    assert all(torch.isfinite(value).all() for value in state.values())
