"""What a log line says of the loss."""

import torch

from insightface_cakd.distill.monitor import loss_line
from insightface_cakd.distill.step import DistillationStep
from insightface_cakd.distill.student import EmbeddingGradients


def after_a_step():
    step = DistillationStep([])
    step.raw = {"cosine": torch.tensor(0.75), "cosine.rows": torch.tensor(8.0), "margin": torch.tensor(30.5)}
    step.weighted = {"cosine": torch.tensor(48.0)}
    return step


def test_a_line_has_the_margin_and_each_weighted_term_with_its_raw_value():
    assert loss_line(after_a_step()) == "margin 30.500, cosine 48.000 (raw 0.75)"


def test_the_ratio_is_that_of_norms_where_it_was_measured():
    # Squared norms 4 and 9: the terms pull with 2 / 3 of the margin's gradient.
    measured = EmbeddingGradients(margin=torch.tensor(9.0), distillation=torch.tensor(4.0))
    assert loss_line(after_a_step(), measured).endswith("(raw 0.75), gradient ratio 0.667")
    for nothing in (EmbeddingGradients(), EmbeddingGradients(margin=torch.tensor(0.0))):
        assert "ratio" not in loss_line(after_a_step(), nothing)
