"""CoupleFace on an unmodified checkout and by its patched script: prototypes, a bank in the checkpoint, a resume."""

import numpy as np
import pytest
import torch

from insightface_cakd.errors import CAKDError
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.recipe.settings import given as with_weights
from insightface_cakd.tasks.precompute import make_prototypes
from tests.hosts.jobs import write_recipe
from tests.patched_runs import patched_copy, scalars, train

pytestmark = pytest.mark.upstream
RECIPE = """\
teacher: {network: mbf}
losses:
  - {loss: fcd, weight: 64}
  - {loss: relation_aware, weight: 64}
"""
BANK = "cakd.losses.relation_aware.bank"


@pytest.fixture
def given(folder, face_set):
    """Recipe, teacher and prototypes of the face set."""
    _, teacher = write_recipe(folder)
    (folder / "recipe.yaml").write_text(RECIPE)
    make_prototypes("recipe.yaml", face_set, folder / "prototypes", with_weights(teacher=teacher))
    return {"distill": "recipe.yaml", "teacher": teacher, "prototypes": str(folder / "prototypes")}


def saved(folder):
    return torch.load(folder / "checkpoint_gpu_0.pt", weights_only=True)["state_dict_softmax_fc"]


def test_the_checkout_trains_and_a_resumed_run_keeps_the_bank(run, folder, given):
    run("out", "save_all_states=true", **given)
    first = saved(folder / "out")[BANK]
    before = torch.tensor(np.load(folder / "prototypes" / "prototypes.npy"))
    assert first.shape == before.shape == (12, 64)
    assert (first != before).any(dim=1).sum() > 6, "most people were in a batch"
    run("out", "save_all_states=true", "num_epoch=1", resume=True, **given)
    assert torch.equal(saved(folder / "out")[BANK], first), "no step was left to take"


def test_the_checkout_refuses_another_number_of_classes(run, folder, given):
    with pytest.raises(CAKDError, match=r"of 12 identities, the head has num_classes 13"):
        run("out", "num_classes=13", **given)


def test_the_patched_script_takes_prototypes(arcface_torch, face_set, tmp_path):
    patched = patched_copy(arcface_torch, tmp_path / "arcface_torch")
    torch.save(get_model("mbf", num_features=512).state_dict(), tmp_path / "teacher.pt")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    make_prototypes(
        str(tmp_path / "recipe.yaml"),
        face_set,
        tmp_path / "prototypes",
        with_weights(teacher=str(tmp_path / "teacher.pt")),
    )
    output = tmp_path / "taught"
    options = {"--distill": "recipe.yaml", "--teacher": "teacher.pt", "--prototypes": "prototypes"}
    train(patched, face_set, output, *(part for key, name in options.items() for part in (key, tmp_path / name)))
    logged = scalars(output / "tensorboard" / "distill", "distill/raw/relation_aware")
    assert [step for step, _ in logged] == [1, 2, 3]
    assert saved(output)[BANK].shape == (12, 512)
