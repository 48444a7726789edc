"""Heads whose class centres come from the teacher, from their equations in NumPy, image by image."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Four embeddings of student and teacher, their classes, and three class centres.
S = np.array([[1.0, 0.2, 0.0], [0.8, 0.5, 0.1], [0.0, 1.0, 0.4], [-0.3, 0.7, 0.6]])
T = np.array([[2.0, 0.1, 0.3], [1.5, 0.6, -0.2], [0.2, 1.8, 0.5], [-0.5, 1.2, 1.6]])
W3 = np.array([[0.5, 0.0, 0.0], [0.0, 2.0, 0.2], [0.1, 0.0, 1.0]])
Y = [0, 0, 1, 1]


def cosine(a: Array, b: Array) -> float:
    """Return the cosine of two vectors."""
    return float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))


def arc_loss(students: Array, labels: list[int], centres: Array, margins: list[float], scale: float) -> float:
    """Return the mean cross-entropy with an arc margin for each image."""
    total = 0.0
    for student, label, margin in zip(students, labels, margins, strict=True):
        logits = [scale * cosine(student, centre) for centre in centres]
        logits[label] = scale * math.cos(math.acos(min(1.0, max(-1.0, logits[label] / scale))) + margin)
        largest = max(logits)
        total += largest + math.log(sum(math.exp(z - largest) for z in logits)) - logits[label]
    return total / len(labels)


def margins_by_quality(
    teachers: Array, labels: list[int], centres: Array, low: float = 0.2, high: float = 0.5
) -> list[float]:
    """Return the margin of each image of a batch."""
    near = [cosine(teacher, centres[label]) for teacher, label in zip(teachers, labels, strict=True)]
    largest = max(*near, 1e-6)
    return [min(high, max(low, (high - low) / largest * value + low)) for value in near]


def kept_shares(
    students: Array, teachers: Array, labels: list[int], centres: Array, simple: bool = False
) -> list[float]:
    """Return how much of its class's centre each image keeps."""
    shares = []
    for student, teacher, label in zip(students, teachers, labels, strict=True):
        near = 1.0 if simple else min(1.0, max(1e-6, cosine(centres[label], teacher)))
        shares.append(min(1.0, max(1e-6, cosine(student, teacher) * near)))
    return shares


def moved_centres(students: Array, teachers: Array, labels: list[int], centres: Array, simple: bool = False) -> Array:
    """Return the centres after one step: for each class the mean of what its images alone would make of it."""
    shares, moved = kept_shares(students, teachers, labels, centres, simple), centres.copy()
    for label in set(labels):
        images = [image for image, other in enumerate(labels) if other == label]
        units = [teachers[image] / np.linalg.norm(teachers[image]) for image in images]
        alone = [shares[i] * centres[label] + (1 - shares[i]) * unit for i, unit in zip(images, units, strict=True)]
        moved[label] = np.mean(alone, axis=0)
    return moved


def adaface_loss(
    students: Array, labels: list[int], centres: Array, scale: float, m: float = 0.4, h: float = 0.333
) -> tuple[float, float, float]:
    """Return the loss of a first step with AdaFace's margin, and the running mean and deviation after it."""
    norms = [min(100.0, max(1e-3, float(np.linalg.norm(student)))) for student in students]
    mean = 0.99 * 20 + 0.01 * float(np.mean(norms))
    std = 0.99 * 100 + 0.01 * float(np.std(norms, ddof=1))
    total = 0.0
    for student, label, norm in zip(students, labels, norms, strict=True):
        z = min(1.0, max(-1.0, h * (norm - mean) / (std + 1e-3)))
        cosines = [cosine(student, centre) for centre in centres]
        angle = math.acos(min(1 - 1e-3, max(1e-3 - 1, cosines[label]))) - m * z
        cosines[label] = math.cos(min(math.pi - 1e-3, max(1e-3, angle))) - (m * z + m)
        total += math.log(sum(math.exp(scale * value) for value in cosines)) - scale * cosines[label]
    return total / len(labels), mean, std


def geometry_loss(
    students: Array, teachers: Array, labels: list[int], centres: Array, arc: float, scale: float, weight: float
) -> float:
    """Return the mean cross-entropy with an arc margin and AdaDistill's geometry margin."""
    total = 0.0
    for student, teacher, label in zip(students, teachers, labels, strict=True):
        logits = [scale * cosine(student, centre) for centre in centres]
        near = cosine(teacher, centres[label])
        lack = max(0.0, near - logits[label] / scale) * near
        logits[label] = scale * (math.cos(math.acos(logits[label] / scale) + arc) - weight * lack)
        largest = max(logits)
        total += largest + math.log(sum(math.exp(z - largest) for z in logits)) - logits[label]
    return total / len(labels)
