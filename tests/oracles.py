"""Every loss again, in plain NumPy float64 loops from its equation; slow, and independent of the package."""

import math
from collections.abc import Callable

import numpy as np

from tests import group_oracles, map_oracles, pair_oracles

Array = np.ndarray


def cosine(student: Array, teacher: Array) -> float:
    """Mean of 1 - cos."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        total += 1 - float(s @ t) / (math.sqrt(float(s @ s)) * math.sqrt(float(t @ t)))
    return total / len(student)


def fcd(student: Array, teacher: Array) -> float:
    """Half the mean squared distance of unit vectors."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        difference = s / math.sqrt(float(s @ s)) - t / math.sqrt(float(t @ t))
        total += float(difference @ difference)
    return total / (2 * len(student))


def fitnet(student: Array, teacher: Array) -> float:
    """Mean squared difference of all entries."""
    total = 0.0
    for s, t in zip(student.ravel(), teacher.ravel(), strict=True):
        total += (s - t) ** 2
    return total / student.size


def mse(student: Array, teacher: Array) -> float:
    """Mean over all entries of the squared difference of unit vectors."""
    return 2 * fcd(student, teacher) / student.shape[1]


def angular(student: Array, teacher: Array) -> float:
    """Mean of (1 - cos)^2."""
    return float(np.mean([cosine(s[None], t[None]) ** 2 for s, t in zip(student, teacher, strict=True)]))


def huber(difference: float) -> float:
    """Smooth L1 with beta 1."""
    return difference**2 / 2 if abs(difference) < 1 else abs(difference) - 0.5


def rkd_distance(student: Array, teacher: Array) -> float:
    """Huber of distances over their positive mean, all ordered pairs."""

    def relative(rows: Array) -> Array:
        distances = np.array([[math.sqrt(float((a - b) @ (a - b))) for b in rows] for a in rows])
        positive = distances[distances > 0]
        return distances / (positive.mean() if len(positive) else 1.0)

    ours, theirs = relative(student), relative(teacher)
    return sum(huber(float(d)) for d in (ours - theirs).ravel()) / ours.size


def rkd_angle(student: Array, teacher: Array) -> float:
    """Huber of cosines between unit differences, all ordered triples; a zero difference has no direction."""

    def direction(a: Array, b: Array) -> Array:
        difference = b - a
        length = math.sqrt(float(difference @ difference))
        return difference / length if length > 0 else difference

    total, count = 0.0, len(student)
    for i in range(count):
        for j in range(count):
            for k in range(count):
                ours = float(direction(student[i], student[j]) @ direction(student[i], student[k]))
                theirs = float(direction(teacher[i], teacher[j]) @ direction(teacher[i], teacher[k]))
                total += huber(ours - theirs)
    return total / count**3


def logit_regression(student: Array, teacher: Array) -> float:
    """Half the squared distance of rows, mean over the batch."""
    total = 0.0
    for s, t in zip(student.ravel(), teacher.ravel(), strict=True):
        total += (s - t) ** 2
    return total / (2 * len(student))


def kd(student: Array, teacher: Array, temperature: float = 4.0) -> float:
    """T^2 times the mean KL divergence of softened probabilities."""

    def probabilities(row: Array) -> list[float]:
        exponentials = [math.exp((z - max(row)) / temperature) for z in row]
        return [e / sum(exponentials) for e in exponentials]

    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        total += sum(q * math.log(q / p) for p, q in zip(probabilities(s), probabilities(t), strict=True))
    return temperature**2 * total / len(student)


# Those of losses that need labels take them third.
ORACLES: dict[str, Callable[..., float]] = {
    "cosine": cosine,
    "fcd": fcd,
    "fitnet": fitnet,
    "rkd_distance": rkd_distance,
    "rkd_angle": rkd_angle,
    "kd": kd,
    "logit_regression": logit_regression,
    "gkd": group_oracles.gkd,
    "urfm_attention": fitnet,
    "urfm_feature": fitnet,
    "urfm_anchor": cosine,
    "prompt_anchor": cosine,
    "mse": mse,
    "angular": angular,
    "qud": pair_oracles.qud,
    "relation_aware": pair_oracles.relation_aware,
    "sp": pair_oracles.sp,
    "cckd": pair_oracles.cckd,
    "darkrank": pair_oracles.darkrank,
    "ekd": pair_oracles.ekd,
    "triplet_distillation": pair_oracles.triplet_distillation,
    "at": map_oracles.at,
    "askd": map_oracles.askd,
    "fskd": map_oracles.fskd,
    "fskd_relation": map_oracles.fskd_relation,
    "pair_contrast": pair_oracles.pair_contrast,
}

# Values on the fixture of tests/losses/test_contract.py, worked out outside this project.
KNOWN: dict[str, float] = {
    "cosine": 0.024866017,
    "fcd": 0.024866017,
    "fitnet": 0.305833333,
    "rkd_distance": 0.006045384,
    "rkd_angle": 0.010479353,
    "kd": 1.310118316,
    "logit_regression": 7.75,
    "gkd": 6.696771383,
    "urfm_attention": 0.305833333,
    "urfm_feature": 0.305833333,
    "urfm_anchor": 0.024866017,
    "prompt_anchor": 0.024866017,
    "mse": 0.016577345,
    "angular": 0.000735035,
    "qud": 0.138807896,
    "relation_aware": 0.054433870,
    "sp": 0.008951381,
    "cckd": 0.003047199,
    "darkrank": 1.156719954,
    "ekd": 0.023058061,
    "triplet_distillation": 0.0,
    "at": 0.218247920,
    "askd": 0.229960802,
    "fskd": 0.433452405,
    "fskd_relation": 0.661957738,
    "pair_contrast": 1.498145741,
}

# Losses that do not change when the student's embedding is scaled.
SCALE_FREE = {
    *("cosine", "fcd", "rkd_distance", "rkd_angle", "urfm_anchor", "prompt_anchor", "mse", "angular", "qud"),
    *("relation_aware", "pair_contrast"),
    *("sp", "cckd", "darkrank", "ekd", "triplet_distillation", "at", "askd", "fskd", "fskd_relation"),
}

# Losses that depend on the order of the batch: a pair's difference points from the earlier image to the later one.
ORDERED = {"pair_contrast"}
