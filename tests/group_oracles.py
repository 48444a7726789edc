"""GKD again, in plain NumPy float64 loops: groups by a stable sort of each whole row, divergences from their definition."""

import math

import numpy as np

Array = np.ndarray


def softmax(row: Array) -> list[float]:
    exponentials = [math.exp(z - max(row)) for z in row]
    return [e / math.fsum(exponentials) for e in exponentials]


def ranking(row: Array, label: int) -> list[int]:
    """Return all classes: the own one, then by falling logit, equal ones by rising class."""
    return sorted(range(len(row)), key=lambda c: (c != label, -row[c], c))


def shared_size(student: Array, share: float = 0.93, step: int = 100) -> int:
    """Return the batch's n: the first of 1, 1 + step, ... below C that will do, else C - 1."""
    sums = sorted(np.sum([softmax(row) for row in student], axis=0), reverse=True)
    for n in range(1, len(sums), step):
        if math.fsum(sums[:n]) >= share * len(student) * (1 - 1e-9):
            return n
    return max(len(sums) - 1, 1)


def primary(student: Array, labels: Array, grouping: str, temperature: float = 4.0, **options: float) -> list[set[int]]:
    """Return each row's primary group."""
    found = []
    for row, label in zip(student, labels, strict=True):
        order = ranking(row, label)
        if grouping == "per_sample":
            probabilities = softmax(row / temperature)
            masses = [math.fsum(probabilities[c] for c in order[:n]) for n in range(1, len(order) + 1)]
            size = 1 + sum(mass < options.get("share", 0.93) * (1 - 1e-9) for mass in masses[:-1])
        elif grouping == "adaptive":
            size = shared_size(student, **options)
        else:
            size = int(options.get("size", 10_000))
        found.append(set(order[:size]))
    return found


def divergence(p: list[float], q: list[float]) -> float:
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def parts(student: Array, teacher: Array, groups: list[set[int]], temperature: float = 4.0) -> dict[str, float]:
    """Return L_B, L_P and L_Sec, of which an empty group's are 0."""
    found = {"binary": 0.0, "primary": 0.0, "secondary": 0.0}
    for s, t, group in zip(student, teacher, groups, strict=True):
        names = {"primary": sorted(group), "secondary": sorted(set(range(len(s))) - group)}
        names = {name: members for name, members in names.items() if members}
        for name, members in names.items():
            found[name] += divergence(softmax(t[members] / temperature), softmax(s[members] / temperature))
        ours, theirs = softmax(s / temperature), softmax(t / temperature)
        shares = [[math.fsum(p[c] for c in members) for members in names.values()] for p in (theirs, ours)]
        found["binary"] += divergence(*shares)
    return {name: temperature**2 * total / len(student) for name, total in found.items()}


def gkd(
    student: Array, teacher: Array, labels: Array, grouping: str = "fixed", temperature: float = 4.0, **options: float
) -> float:
    """GKD with primary 8 and binary 1; two classes in the group where nothing else is said."""
    options = options or ({"size": 2} if grouping == "fixed" else {})
    found = parts(student, teacher, primary(student, labels, grouping, temperature, **options), temperature)
    return 8 * found["primary"] + found["binary"]
