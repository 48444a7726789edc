"""A made-up checkout with configs, so that most verdicts need no upstream."""

import pytest

from tests.data.record_files import insightface_set
from tests.doctor.asking import of
from tests.hosts.checkouts import TRAIN, made_up_checkout

GET_CONFIG = (
    TRAIN.replace("args.config", "args.config, {}")
    + """

import importlib


def get_config(path):
    base = importlib.import_module("configs.base").config
    base.update(importlib.import_module("configs." + path.rpartition("/")[2].removesuffix(".py")).config)
    return base
"""
)
BASE = """\
from easydict import EasyDict

config = EasyDict(
    margin_list=(1.0, 0.5, 0.0), network="linear", embedding_size=8, sample_rate=1, fp16=False, batch_size=2, optimizer="sgd",
    lr=0.1, weight_decay=5e-4, interclass_filtering_threshold=0, verbose=2, frequent=1, gradient_acc=1, num_workers=0, seed=1,
    dali=False, using_wandb=False, resume=False, output="out",
)
"""
BACKBONES = """\
import torch


def get_model(name, **options):
    if name != "linear":
        raise ValueError()
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 112 * 112, options["num_features"]))
"""


LOSSES = """\
import torch


class CombinedMarginLoss(torch.nn.Module):
    def __init__(self, s, m1, m2, m3, interclass_filtering_threshold):
        super().__init__()

    def forward(self, logits, labels):
        return logits
"""
HEAD = """\
import torch


class PartialFC_V2(torch.nn.Module):
    def __init__(self, margin_loss, embedding_size, num_classes, sample_rate, fp16):
        super().__init__()
        self.margin_softmax = margin_loss
        self.weight = torch.nn.Parameter(torch.ones(num_classes, embedding_size))

    def forward(self, embeddings, labels):
        logits = self.margin_softmax(embeddings @ self.weight.T, labels)
        return torch.nn.functional.cross_entropy(logits, labels)
"""


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A record file in InsightFace's style: 3 people, 6 images."""
    return insightface_set(tmp_path_factory.mktemp("records") / "data", [2, 2, 2])


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A made-up checkout with a base config; the working directory is empty."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    folder = made_up_checkout(
        tmp_path / "insightface" / "recognition" / "arcface_torch",
        train_v2=GET_CONFIG, losses=LOSSES, partial_fc_v2=HEAD,
    )  # fmt: skip
    (folder / "backbones" / "__init__.py").write_text(BACKBONES)
    (folder / "configs" / "__init__.py").write_text("")
    (folder / "configs" / "base.py").write_text(BASE)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


@pytest.fixture
def job(host, records):
    """Write a job of the made-up checkout, and return what the doctor says with it."""

    def write(*settings, **changes):
        values = {
            "rec": str(records),
            "num_classes": 3,
            "num_image": 6,
            "num_epoch": 1,
            "warmup_epoch": 0,
            "val_targets": [],
        }
        kept = {key: value for key, value in {**values, **changes}.items() if value is not ...}
        (host / "configs" / "own.py").write_text(f"config = {kept!r}")
        return of(host, config="configs/own", settings=settings)

    return write
