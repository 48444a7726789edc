"""Prototypes on their way into a run: what is compared, and what is refused before the first step."""

import numpy as np
import pytest
import torch

from insightface_cakd.data.data_set_hash import data_set_hash
from insightface_cakd.data.prototypes import Prototypes
from insightface_cakd.distill.plan import RunPlan
from insightface_cakd.distill.prototypes import _check_origin
from insightface_cakd.errors import RecipeError, ShapeError, TeacherError
from insightface_cakd.recipe import parse_recipe
from insightface_cakd.recipe.settings import given
from insightface_cakd.runtime.ranks import rank, world_size
from insightface_cakd.tasks import seam
from tests.prototype_files import write_folder
from tests.ranks import RANKS, run_ranks
from tests.toy import WIDTH, of_ranks, prototypes_folder, toy_batch, toy_head, toy_host, toy_teacher

CLASSES = 12
TERM = {"loss": "relation_aware", "weight": 1}
DIGEST = "5" * 64


def rows(classes=CLASSES, width=WIDTH):
    return torch.nn.functional.normalize(torch.randn(classes, width), dim=1).numpy()


def recipe(folder, *terms, **teacher):
    content = {"teacher": {"network": "toy", **teacher}, "losses": list(terms or (TERM,))}
    return parse_recipe(content, "recipe", given(prototypes=None if folder is None else str(folder)))


def install(folder, *terms, digest=None, data=None, host=None, **teacher):
    taught = toy_teacher()
    taught.sha256 = digest
    return seam.install(
        host or toy_host(), recipe(folder, *terms, **teacher), {"teacher": taught}, plan=RunPlan(data=data)
    )


def test_terms_start_from_the_folder_and_never_write_to_it(tmp_path):
    folder = write_folder(tmp_path / "out", rows())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    loss = install(folder).step.losses["relation_aware"]
    torch.testing.assert_close(loss.bank, torch.tensor(np.load(folder / "prototypes.npy")), rtol=0, atol=1e-6)
    assert loss.hardest.flatten().tolist() == [*range(1, CLASSES), 0]
    loss(torch.randn(3, WIDTH), torch.randn(3, WIDTH), torch.arange(3))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_two_terms_have_banks_of_their_own(tmp_path):
    terms = [{**TERM, "name": name} for name in ("one", "other")]
    losses = install(write_folder(tmp_path / "out", rows()), *terms).step.losses
    assert losses["one"].bank.data_ptr() != losses["other"].bank.data_ptr()


def test_a_recipe_without_the_term_does_not_look_at_the_folder():
    for terms in ([{"loss": "cosine", "weight": 1}], [{"loss": "cosine", "weight": 1}, TERM | {"weight": 0}]):
        assert install("nowhere", *terms).prototypes is None


def test_none_at_all_is_refused():
    with pytest.raises(RecipeError, match=r"term 'relation_aware' needs prototypes .*; expected .*--prototypes FOLDER"):
        install(None)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TeacherError, match=r"teacher\.prototypes .*nowhere: no such folder; expected a folder written"):
        install(tmp_path / "nowhere")


@pytest.mark.parametrize(("said", "known", "refused"), [
    (DIGEST, "6" * 64, True), (DIGEST, DIGEST, False), (None, DIGEST, False), (DIGEST, None, False),
])  # fmt: skip
def test_those_of_another_teacher_are_refused_where_both_are_known(said, known, refused, tmp_path):
    folder = write_folder(tmp_path / "out", rows(), teacher_sha256=said)
    if not refused:
        assert install(folder, digest=known).prototypes is not None
        return
    line = r"teacher\.prototypes .*out: written by toy \(sha256 555555555555\.\.\.\), the run's teacher is toy \(sha256 6666"
    with pytest.raises(TeacherError, match=line):
        install(folder, digest=known)


def test_those_of_another_width_are_refused(tmp_path):
    folder = write_folder(tmp_path / "out", rows(width=5))
    with pytest.raises(TeacherError, match=r"out: rows of 5 values, teacher toy gives 16; expected one width"):
        install(folder)


def test_those_of_another_data_set_are_refused_and_both_are_named(tmp_path, face_set, four_faces):
    folder = write_folder(tmp_path / "out", rows(), data=data_set_hash(face_set))
    assert install(folder, data=face_set).prototypes is not None
    ours, theirs = (data_set_hash(data)[:12] for data in (four_faces, face_set))
    with pytest.raises(TeacherError, match=rf"out: of a data set with hash {theirs}.*{four_faces} has {ours}"):
        install(folder, data=four_faces)


def test_synthetic_data_have_no_hash(tmp_path):
    prototypes = Prototypes.open(write_folder(tmp_path / "out", rows()))
    _check_origin(prototypes, "here", toy_teacher(), type(tmp_path)("synthetic"))


@pytest.mark.parametrize("head", [11, 13])
def test_another_number_of_classes_is_refused_by_the_head(head, tmp_path):
    host = toy_host()
    install(write_folder(tmp_path / "out", rows()), host=host)
    toy_head(host, CLASSES, (1.0, 0.5, 0.0))
    with pytest.raises(ShapeError, match=rf"out: of 12 identities, the head has num_classes {head}; expected as many"):
        host.PartialFC_V2(host.CombinedMarginLoss(64, 1.0, 0.5, 0.0), WIDTH, head)
    with pytest.raises(ShapeError, match=r"of 12 identities, the head"):
        host.PartialFC_V2(host.CombinedMarginLoss(64, 1.0, 0.5, 0.0), WIDTH, num_classes=head)


def test_prototypes_serve_as_class_centres_if_they_are_the_teachers_own(tmp_path):
    """KD and GKD then need no head of the teacher."""
    folder = write_folder(tmp_path / "out", rows(), teacher_sha256=DIGEST)
    kd = {"loss": "kd", "weight": 1}
    (logits,) = (source for source in install(None, kd, centres=[str(folder)]).sources if source.by_class)
    assert torch.equal(logits.centres.rows(), torch.tensor(np.load(folder / "prototypes.npy")))
    with pytest.raises(TeacherError, match=r"teacher\.centres\[0\] .*out: written by toy"):
        install(None, kd, centres=[str(folder)], digest="6" * 64)


def bank_of(tmp_path, steps):
    """Return what the bank of the relation-aware term is after some steps on this rank's share of the batch."""
    host = toy_host()
    torch.manual_seed(0)
    install(prototypes_folder(tmp_path, CLASSES), host=host)
    student, head = host.get_model("toy", num_features=WIDTH), toy_head(host, CLASSES, (1.0, 0.5, 0.0))
    wrapped = of_ranks(student.train())
    images, labels = (part.chunk(world_size())[rank()] for part in toy_batch(CLASSES))
    for step in range(steps):
        head.train()(wrapped(images.roll(step, -1)), labels).backward()
    return head.state_dict()["cakd.losses.relation_aware.bank"]


@pytest.mark.parametrize("world", RANKS)
def test_the_banks_of_all_ranks_are_equal_to_the_bit_and_are_that_of_one_process(world, tmp_path):
    expected, before = bank_of(tmp_path, 3), bank_of(tmp_path, 0)
    banks = run_ranks(bank_of, world, tmp_path, 3)
    assert all(torch.equal(banks[0], other) for other in banks[1:])
    torch.testing.assert_close(banks[0], expected, rtol=0, atol=1e-6)
    moved = (expected != before).any(dim=1)
    assert moved.tolist() == torch.zeros(CLASSES).index_fill(0, toy_batch(CLASSES)[1], 1).bool().tolist()


def test_prototypes_of_a_teacher_that_took_other_colours_are_refused(tmp_path):
    folder = write_folder(tmp_path / "out", rows(), takes="bgr, mean 0.5, std 0.5")
    message = r"teacher\.prototypes .*out: of a teacher that took pixels as bgr, mean 0\.5, std 0\.5, the run's takes rgb, .*; expected"
    with pytest.raises(TeacherError, match=message):
        install(folder)
