"""What keeps a teacher that learns to teach from forgetting what it knows."""

from insightface_cakd.losses.cosine import CosineLoss


class PromptAnchorLoss(CosineLoss):
    """Keep the prompted teacher's embedding in the direction of the plain one.

    mean_i (1 - cos(p_i, t_i))

    Shape:
        student: (B, D), p, the embedding with prompts; teacher: (B, D), t, the embedding of the same images without.
    Units:
        1 - cosine, in [0, 2].
    Edge cases:
        A zero row counts as cosine 0. B = 0 returns a differentiable 0. Nothing of it reaches the student.
    Source:
        Assumption: the known text of CAKD (2306.14662) names no anchor.
    """

    reads = "prompted"
    paper = "CAKD (2306.14662), anchor of the prompts (assumption)"
