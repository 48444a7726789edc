"""A `model.pt` of one host loads in the other and scores the same."""

import re

import pytest
import torch

from insightface_cakd.data.bins import load_bin
from insightface_cakd.evaluate.pairs.verification import verify
from insightface_cakd.hosts import upstream
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.embedded import train_v2 as embedded
from insightface_cakd.hosts.embedded.backbones import get_model
from insightface_cakd.networks.models import load_backbone
from tests.hosts.embedded.jobs import small_job

pytestmark = pytest.mark.upstream


def test_the_checkouts_student_scores_on_the_embedded_host_what_its_log_says(run, face_set):
    output = run("out", "val_targets=['dev']", "verbose=4", "lr=0.1")
    log = (output / "training.log").read_text()
    found = verify(load_backbone(output / "model.pt", "mbf", get_model), load_bin(face_set / "dev.bin"))
    assert re.search(r"\[dev\]\[4\]Accuracy-Flip: (\S+)", log)[1] == f"{found.accuracy:1.5f}+-{found.std:1.5f}"
    assert float(re.search(r"\[dev\]\[4\]XNorm: (\S+)", log)[1]) == pytest.approx(found.xnorm, rel=1e-5)


def test_the_embedded_hosts_student_scores_on_the_checkout_what_its_result_says(folder, arcface_torch, face_set):
    job = small_job(face_set, folder / "out", network="mbf", num_epoch=1, lr=0.1, val_targets=["dev"])
    accuracy = embedded.main(job).accuracy["dev"]
    with upstream.opened(find_checkout(arcface_torch)) as host:
        network = host.train_v2.get_model("mbf", fp16=False, num_features=32)
        network.load_state_dict(torch.load(folder / "out" / "model.pt", weights_only=True), strict=True)
        callback = host.train_v2.CallBackVerification(["dev"], str(face_set), summary_writer=NoWriter())
        callback(4, network)
    assert callback.highest_acc_list == [pytest.approx(accuracy, abs=1e-12)]


class NoWriter:
    """Takes the place of a TensorBoard writer."""

    def add_scalar(self, **_):
        """Write nothing."""
