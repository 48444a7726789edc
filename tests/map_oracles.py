"""Losses of maps again, in plain NumPy float64 loops from their equations; see tests/oracles.py."""

import math

import numpy as np

Array = np.ndarray


def cosine(a: Array, b: Array) -> float:
    a, b = a.ravel(), b.ravel()
    return float(a @ b) / math.sqrt(float(a @ a)) / math.sqrt(float(b @ b))


def at(student: Array, teacher: Array) -> float:
    """Mean squared difference of energies of length 1."""

    def attention(maps: Array) -> Array:
        energy = np.array(
            [[sum(c[y, x] ** 2 for c in maps) for x in range(maps.shape[2])] for y in range(maps.shape[1])]
        )
        return energy / math.sqrt(float((energy**2).sum()))

    return float(np.mean([(attention(s) - attention(t)) ** 2 for s, t in zip(student, teacher, strict=True)]))


def askd(student: Array, teacher: Array) -> float:
    """Cosine distance of mean + maximum, over positions and over channels."""

    def channels(maps: Array) -> Array:
        return np.array([c.mean() + c.max() for c in maps])

    def positions(maps: Array) -> Array:
        columns = maps.reshape(len(maps), -1).T
        return np.array([column.mean() + column.max() for column in columns])

    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        total += 2 - cosine(channels(s), channels(t)) - cosine(positions(s), positions(t))
    return total / len(student)


def fskd(student: Array, teacher: Array) -> float:
    """Cosine distance of whole maps."""
    return float(np.mean([1 - cosine(s, t) for s, t in zip(student, teacher, strict=True)]))


def fskd_relation(student: Array, teacher: Array, labels: Array) -> float:
    """Distances of position relations to the most similar picture of the same person."""

    def relation(a: Array, b: Array) -> Array:
        a, b = (m.reshape(len(m), -1) / math.sqrt(float((m**2).sum())) for m in (a, b))
        return np.array(
            [[sum(a[c, p] * b[c, q] for c in range(len(a))) for q in range(b.shape[1])] for p in range(a.shape[1])]
        )

    losses = []
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if j != i and labels[j] == labels[i]]
        if not others:
            continue
        j = max(others, key=lambda j, i=i: cosine(teacher[i], teacher[j]))
        goal = relation(teacher[i], teacher[j])
        mixed = [relation(teacher[i], student[j]), relation(student[i], teacher[j])]
        parts = [1 - cosine(goal, found) for found in (*mixed, relation(student[i], student[j]))]
        losses.append((parts[0] + parts[1]) / 2 + parts[2])
    return float(np.mean(losses))
