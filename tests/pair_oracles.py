"""Losses of pairs and triplets of images again, in plain NumPy float64 loops from their equations; see tests/oracles.py."""

import math

import numpy as np

Array = np.ndarray

# Hard other identities of each of four.
HARDEST = [[1, 3], [3, 2], [0, 1], [0, 2]]


def bank(width: int) -> Array:
    """Four unit rows: (1, 0, 0, ...), (0, 1, 0, ...), (0, 0, 1, ...) and (1, 1, 0, ...) / sqrt 2."""
    rows = np.eye(width)[:3]
    return np.vstack([rows, (rows[0] + rows[1]) / math.sqrt(2)])


# Triplets that hold by more are left out.
WITHIN = 0.35
# The state that the contract gives to losses that have one.
STUDENT_THRESHOLDS = [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
TEACHER_THRESHOLDS = [0.25, 0.35, 0.45, 0.55, 0.65, 0.75]


def queued(width: int) -> Array:
    """Two unit rows: (..., 0, 0, 1) and (..., 0, 1, 0)."""
    return np.eye(width)[[-1, -2]]


def cosine(a: Array, b: Array) -> float:
    return float(a @ b) / math.sqrt(float(a @ a)) / math.sqrt(float(b @ b))


def sp(student: Array, teacher: Array) -> float:
    """Squared difference of Gram matrices with rows of length 1, over B^2."""

    def similarities(rows: Array) -> Array:
        gram = np.array([[float(a @ b) for b in rows] for a in rows])
        return np.array([row / math.sqrt(float(row @ row)) for row in gram])

    return float(((similarities(student) - similarities(teacher)) ** 2).sum()) / len(student) ** 2


def sp_cosine(student: Array, teacher: Array) -> float:
    """Squared difference of cosines, over B^2."""
    total = 0.0
    for i in range(len(student)):
        for j in range(len(student)):
            total += (cosine(student[i], student[j]) - cosine(teacher[i], teacher[j])) ** 2
    return total / len(student) ** 2


def cckd(student: Array, teacher: Array, gamma: float = 0.4, order: int = 2) -> float:
    """Squared difference of expanded Gaussian kernels, order 0 included."""

    def kernel(c: float) -> float:
        return sum(math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) * c**p for p in range(order + 1))

    total = 0.0
    for i in range(len(student)):
        for j in range(len(student)):
            ours, theirs = cosine(student[i], student[j]), cosine(teacher[i], teacher[j])
            total += (kernel(ours) - kernel(theirs)) ** 2
    return total / len(student) ** 2


def distance(a: Array, b: Array) -> float:
    """Between directions."""
    difference = a / math.sqrt(float(a @ a)) - b / math.sqrt(float(b @ b))
    return math.sqrt(float(difference @ difference))


def darkrank(student: Array, teacher: Array, length: int = 3) -> float:
    """Likelihood of the teacher's order of the nearest others, alpha = beta = 3."""
    total = 0.0
    for i in range(len(student)):
        others = [j for j in range(len(student)) if j != i]
        others.sort(key=lambda j, i=i: distance(teacher[i], teacher[j]))
        scores = [-3 * distance(student[i], student[j]) ** 3 for j in others[:length]]
        for k in range(len(scores)):
            total -= scores[k] - math.log(sum(math.exp(score) for score in scores[k:]))
    return total / len(student)


def ekd(student: Array, teacher: Array, labels: Array, hardest: int = 2) -> float:
    """Rank differences at thresholds that have moved once from the contract's start."""
    pairs = [(i, j) for i in range(len(labels)) for j in range(i + 1, len(labels))]
    positive = [pair for pair in pairs if labels[pair[0]] == labels[pair[1]]]
    negative = [pair for pair in pairs if labels[pair[0]] != labels[pair[1]]]

    def ranks(rows: Array, start: list[float]) -> dict[tuple[int, int], float]:
        cosines = {(i, j): cosine(rows[i], rows[j]) for i, j in pairs}
        falling = sorted((cosines[pair] for pair in negative), reverse=True)
        thresholds = [0.99 * before + 0.01 * falling[len(falling) // 10 ** (k + 1)] for k, before in enumerate(start)]
        return {
            pair: sum(1 / (1 + math.exp(-min(50, max(-50, (c - theta) / 0.01)))) for theta in thresholds)
            for pair, c in cosines.items()
        }

    ours, theirs = ranks(student, STUDENT_THRESHOLDS), ranks(teacher, TEACHER_THRESHOLDS)
    mined = sorted(negative, key=lambda pair: cosine(student[pair[0]], student[pair[1]]), reverse=True)[:hardest]
    parts = [np.mean([(ours[pair] - theirs[pair]) ** 2 for pair in chosen]) for chosen in (positive, mined)]
    return 0.02 * float(parts[0]) + 0.01 * float(parts[1])


def triplet_distillation(student: Array, teacher: Array, labels: Array, semi_hard: bool = False) -> float:
    """Hinge with the teacher's margins; for each ordered positive pair the student's nearest other person, if within 0.35.

    Semi-hard: for each pair once the nearest of those who are farther than the positive.
    """
    triplets = []
    for a in range(len(labels)):
        for p in range(len(labels)):
            own = distance(student[a], student[p]) ** 2
            others = [n for n in range(len(labels)) if labels[n] != labels[a]]
            if semi_hard:
                others = [n for n in others if a < p and distance(student[a], student[n]) ** 2 > own]
            if p == a or labels[p] != labels[a] or not others:
                continue
            n = min(others, key=lambda n, a=a: distance(student[a], student[n]))
            if distance(student[a], student[n]) ** 2 - own < WITHIN:
                triplets.append((a, p, n))
    if not triplets:
        return 0.0
    gaps = [
        max(0.0, distance(teacher[a], teacher[n]) ** 2 - distance(teacher[a], teacher[p]) ** 2) for a, p, n in triplets
    ]
    total = 0.0
    for (a, p, n), gap in zip(triplets, gaps, strict=True):
        margin = 0.2 + 0.3 * gap / max(*gaps, 1e-6)
        total += max(0.0, distance(student[a], student[p]) ** 2 - distance(student[a], student[n]) ** 2 + margin)
    return total / len(triplets)


def qud(student: Array, teacher: Array, tau: float = 0.1) -> float:
    """Cross-entropy of the own teacher row among the contract's queue."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        own = math.exp(cosine(s, t) / tau)
        total -= math.log(own / (own + sum(math.exp(cosine(s, q) / tau) for q in queued(len(s)))))
    return total / len(student)


def relation_aware(student: Array, teacher: Array, labels: Array, q: float = 0.03, update: str = "first") -> float:
    """Excess of the student's similarity to hard identities; their rows are the mean directions of the batch where it has any."""
    before = bank(student.shape[1])
    after = before.copy()
    for c in set(labels.tolist()):
        own = [t / math.sqrt(float(t @ t)) for t, label in zip(teacher, labels, strict=True) if label == c]
        after[c] = sum(own) / math.sqrt(float(sum(own) @ sum(own)))
    rows = after if update == "first" else before
    total = 0.0
    for s, t, label in zip(student, teacher, labels, strict=True):
        for k in HARDEST[label]:
            total += max(0.0, cosine(rows[k], s) - cosine(rows[k], t) - q)
    return total / (len(labels) * len(HARDEST[0]))


def pair_contrast(student: Array, teacher: Array, temperature: float = 0.1) -> float:
    """Cross-entropy of each difference of two images among those of the teacher; equal images make no pair."""

    def direction(rows: Array, i: int, j: int) -> Array | None:
        a, b = (row / math.sqrt(float(row @ row)) if row.any() else row for row in (rows[i], rows[j]))
        length = math.sqrt(float((a - b) @ (a - b)))
        return (a - b) / length if length > 1e-6 else None

    kept = []
    for i in range(len(student)):
        for j in range(i + 1, len(student)):
            pair = direction(student, i, j), direction(teacher, i, j)
            if pair[0] is not None and pair[1] is not None:
                kept.append(pair)
    total = 0.0
    for number, (ours, _) in enumerate(kept):
        exponents = [float(ours @ theirs) / temperature for _, theirs in kept]
        total += math.log(sum(math.exp(e - exponents[number]) for e in exponents))
    return total / len(kept) if kept else 0.0
