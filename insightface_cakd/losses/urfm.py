"""Losses on unified receptive fields, and the anchor of their mapping."""

from insightface_cakd.losses.cosine import CosineLoss
from insightface_cakd.losses.fitnet import FitNetLoss


class URFMAttentionLoss(FitNetLoss):
    """Make the student's fields attend to each other as the teacher's.

    mean over all entries of (A^S - A^T)^2

    Shape:
        student, teacher: (B, heads, L, L), attention maps of the self-attention over the fields; (B, heads, L, N) with `attention: urfm`.
    Units:
        Squared probability, in [0, 2 / L] (0.041 for 49 centres), since rows sum to 1; two random sharp maps differ by about 1e-3,
        so weights of 100 to 10000 are usual.
    Edge cases:
        B = 0 returns a differentiable 0. The teacher's side keeps its gradient: the mapping decides what is stopped.
    Source:
        Zhao et al., CAKD, ACM MM 2023; the mean over all entries is an assumption.
    """

    name = "urfm_attention"
    reads = "urfm_attention"
    detaches_teacher = False
    paper = "CAKD (2306.14662), L_attn"


class URFMFeatureLoss(FitNetLoss):
    """Make the student's local fields equal the teacher's.

    mean over all entries of (MSA(h^S) - MSA(h^T))^2

    Shape:
        student, teacher: (B, L, d).
    Units:
        Squared field value; in [0, 4] with normalised fields, 2 for unrelated ones.
    Edge cases:
        B = 0 returns a differentiable 0. The teacher's side keeps its gradient: the mapping decides what is stopped.
    Source:
        Zhao et al., CAKD, ACM MM 2023; the mean over all entries is an assumption.
    """

    name = "urfm_feature"
    reads = "urfm_fields"
    detaches_teacher = False
    paper = "CAKD (2306.14662), L_feat"


class URFMAnchorLoss(CosineLoss):
    """Keep the person's identity in the teacher's local fields.

    Their linear read-out has the direction of the teacher's embedding:

    mean_i (1 - cos(readout_i, t_i))

    Shape:
        student: (B, D), the read-out; teacher: (B, D), the embedding.
    Units:
        1 - cosine, in [0, 2].
    Edge cases:
        A zero row counts as cosine 0. B = 0 returns a differentiable 0. Nothing of it reaches the student.
    Source:
        Ours; the paper's own means against collapse are unknown.
    """

    name = "urfm_anchor"
    reads = "urfm_anchor"
    paper = "CAKD (2306.14662), anchor of the mapping (ours)"
