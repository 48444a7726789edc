"""The patched `train_v2.py`, started by plain Python: with a teacher, and without one as if the seam were not there."""

import pytest
import torch

from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.runtime.run_folder import RunFolder
from tests.commands import cakd
from tests.patched_runs import RECIPE, patched_copy, run, scalars, train, weights

pytestmark = pytest.mark.upstream


@pytest.fixture(scope="module")
def patched(arcface_torch, tmp_path_factory):
    """A copy of the checkout with both patches in; not to be changed but for configs."""
    return patched_copy(arcface_torch, tmp_path_factory.mktemp("patched") / "arcface_torch")


def test_without_distill_the_patched_script_trains_as_the_command_does(patched, arcface_torch, face_set, tmp_path):
    train(patched, face_set, tmp_path / "script")
    config = patched / "configs" / "script.py"
    command = ["train", config, "--host", arcface_torch, "--set", f"output={str(tmp_path / 'command')!r}"]
    ended = run(tmp_path, *command, module="insightface_cakd")
    assert ended.returncode == 0, ended.stderr
    losses = [scalars(tmp_path / name / "tensorboard", "loss") for name in ("script", "command")]
    assert [step for step, _ in losses[0]] == [2, 3], "the first step only starts the clock"
    assert losses[0] == losses[1]
    one, other = weights(tmp_path / "script"), weights(tmp_path / "command")
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_patched_script_learns_from_a_teacher(patched, face_set, tmp_path):
    torch.manual_seed(0)
    torch.save(get_model("r18", num_features=512).state_dict(), tmp_path / "r18.pt")
    (tmp_path / "mine.yaml").write_text(RECIPE)
    output = tmp_path / "taught"
    said = train(patched, face_set, output, "--distill", tmp_path / "mine.yaml", "--teacher", tmp_path / "r18.pt")
    assert said.splitlines()[-1] == f"next: cakd export {output} {output}.onnx"
    made = RunFolder(output)
    assert (made.network, made.saved.recipe_name, made.teacher.name) == ("mbf", "mine", "r18")
    assert "train_v2.py" in made.saved.host["changed"]
    ran = cakd("export", output, tmp_path / "student.onnx")
    assert ran.code == 0, ran.err
    cosine = dict(scalars(output / "tensorboard" / "distill", "distill/raw/cosine"))
    margin = dict(scalars(output / "tensorboard" / "distill", "distill/raw/margin"))
    assert list(cosine) == [1, 2, 3]
    loss = dict(scalars(output / "tensorboard", "loss"))
    assert loss[3] == pytest.approx(margin[3] + 64 * cosine[3], rel=1e-5)
    get_model("mbf", num_features=512).load_state_dict(weights(output), strict=True)
    saved = torch.load(output / "checkpoint_gpu_0.pt", weights_only=True)["state_dict_softmax_fc"]
    assert list(saved) == ["weight", "cakd.step"]


def test_a_mistake_is_one_line_before_the_run(patched, face_set, tmp_path):
    with pytest.raises(
        AssertionError, match=r"train_v2\.py: error: recipe cosin: no such file.*Did you mean 'cosine'"
    ) as ended:
        train(patched, face_set, tmp_path / "wrong", "--distill", "cosin")
    assert "Traceback" not in str(ended.value)
    assert not (tmp_path / "wrong").exists()


@pytest.mark.slow
def test_two_ranks_learn_from_a_teacher(patched, face_set, tmp_path):
    torch.save(get_model("mbf", num_features=512).state_dict(), tmp_path / "mbf.pt")
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("r18", "mbf"))
    output = tmp_path / "ranks"
    train(patched, face_set, output, "--distill", tmp_path / "mine.yaml", "--teacher", tmp_path / "mbf.pt", ranks=2)
    ranks = [torch.load(output / f"checkpoint_gpu_{rank}.pt", weights_only=True) for rank in (0, 1)]
    parameters = [key for key, _ in get_model("mbf", num_features=512).named_parameters()]
    one, other = (rank["state_dict_backbone"] for rank in ranks)
    assert all(torch.equal(one[key], other[key]) for key in parameters)
    assert sum(len(rank["state_dict_softmax_fc"]["weight"]) for rank in ranks) == 12
    assert [step for step, _ in scalars(output / "tensorboard" / "distill", "distill/raw/cosine")] == [1]
