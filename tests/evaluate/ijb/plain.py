"""The protocols once more, plainly: loops over dicts, nothing vectorised, nothing shared with the package."""

import math

FARS = [10**-exponent for exponent in range(6, 0, -1)]


def templates(rows, template_ids, media_ids) -> dict[int, list[float]]:
    """Sum over media of the mean over images, of length 1."""
    grouped: dict[int, dict[int, list]] = {}
    for row, template, media in zip(rows, template_ids, media_ids, strict=True):
        grouped.setdefault(int(template), {}).setdefault(int(media), []).append([float(value) for value in row])
    found = {}
    for template, media in grouped.items():
        means = [[math.fsum(column) / len(images) for column in zip(*images, strict=True)] for images in media.values()]
        total = [math.fsum(column) for column in zip(*means, strict=True)]
        length = math.sqrt(math.fsum(value * value for value in total))
        found[template] = [value / length for value in total]
    return found


def weighted(plain, mirrored, scores, normalised: bool, detector: bool, flip: bool) -> list[list[float]]:
    found = []
    for row, other, score in zip(plain, mirrored, scores, strict=True):
        values = [float(a) + (float(b) if flip else 0.0) for a, b in zip(row, other, strict=True)]
        length = math.sqrt(math.fsum(value * value for value in values)) if normalised else 1.0
        found.append([value / length * (float(score) if detector else 1.0) for value in values])
    return found


def cosine(one, other) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def curve(scores, same) -> list[tuple[int, int]]:
    """Points (different accepted, same accepted) threshold by threshold, those on straight lines left out."""
    points = []
    for threshold in sorted({float(score) for score in scores}, reverse=True):
        accepted = [bool(label) for score, label in zip(scores, same, strict=True) if score >= threshold]
        points.append((accepted.count(False), accepted.count(True)))
    kept = []
    for index, (false, true) in enumerate(points):
        if 0 < index < len(points) - 1:
            before, after = points[index - 1], points[index + 1]
            if (false - before[0], true - before[1]) == (after[0] - false, after[1] - true):
                continue
        kept.append((false, true))
    return [(0, 0), *kept]


def tar_nearest(points, far: float) -> float:
    """TAR at the nearest rate; of equally near ones the last point counts."""
    different, same = points[-1]
    best = min(reversed(points), key=lambda point: abs(point[0] / different - far))
    return best[1] / same


def tar_strict(scores, same, far: float) -> float | None:
    genuine = [score for score, label in zip(scores, same, strict=True) if label]
    impostors = [score for score, label in zip(scores, same, strict=True) if not label]
    if len(impostors) * far < 1 - 1e-9:
        return None
    allowed = [
        threshold
        for threshold in [*genuine, *impostors]
        if sum(score >= threshold for score in impostors) <= len(impostors) * far + 1e-9
    ]
    return max((sum(score >= threshold for score in genuine) for threshold in allowed), default=0) / len(genuine)


def identification(features, gallery: dict[int, int], probes: dict[int, int], fpirs) -> dict:
    """Rank-1/5/10, and TPIR at upstream's thresholds; `gallery` and `probes` are template -> subject."""
    enrolled = set(gallery.values())
    ranks, found_at, strangers = [], [], []
    for template, subject in probes.items():
        scored = sorted(
            ((cosine(features[template], features[other]), who) for other, who in gallery.items()), reverse=True
        )
        if subject not in enrolled:
            strangers.append(scored[0][0])
            continue
        ranks.append([who for _, who in scored].index(subject))
        found_at.append(scored[0][0] if scored[0][1] == subject else -math.inf)
    strangers.sort(reverse=True)
    tpirs = []
    for fpir in fpirs:
        threshold = strangers[max(int(len(strangers) * fpir) - 1, 0)]
        tpirs.append(sum(score > threshold for score in found_at) / len(found_at))
    return {"ranks": {k: sum(rank < k for rank in ranks) for k in (1, 5, 10)}, "tpirs": tpirs, "mated": len(ranks)}
