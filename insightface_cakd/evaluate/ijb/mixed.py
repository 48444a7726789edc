"""Mixed enrolment on an IJB set: what one model enrolled is compared with what another one sees now."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.identification import FPIRS, RANKS, Identification
from insightface_cakd.evaluate.ijb.presets import FARS, Mode, Preset
from insightface_cakd.evaluate.ijb.report import NONE, Subject, left_out, save, table
from insightface_cakd.evaluate.ijb.roc import Roc
from insightface_cakd.evaluate.ijb.run import Lists, Measured, measure
from insightface_cakd.evaluate.ijb.store import Embeddings
from insightface_cakd.evaluate.mixed.mixed import Constellation, require_one_width
from insightface_cakd.runtime.atomic import replacing, write_json
from insightface_cakd.runtime.progress import Progress

# The rate at which the closing sentence tells the cost, or the lowest above it that the pairs support.
TOLD = 1e-4
FPIR = FPIRS[2]


@dataclass(frozen=True)
class Model:
    """A model's side.

    Args:
        name: as tables show it.
        embeddings: of all faces of the set.
    """

    name: str
    embeddings: Embeddings


@dataclass(frozen=True)
class Case:
    """The numbers of one constellation in one mode, read strictly: None where the set cannot support one.

    Args:
        constellation: who enrolled and who asks.
        mode: letters.
        tars: FAR -> TAR, empty without 1:1.
        ranks: rank -> mean of both galleries, empty without 1:N.
        tpir: mean TPIR at `FPIR`.
    """

    constellation: Constellation
    mode: str
    tars: dict[float, float | None]
    ranks: dict[int, float]
    tpir: float | None


def measure_mixed(
    teacher: Model,
    student: Model,
    lists: Lists,
    preset: Preset,
    modes: Sequence[Mode],
    target: str,
    out: Path,
    workers: int = 2,
    progress: Progress | None = None,
) -> str:
    """Measure both models alone, the teacher's gallery under the student's probes, and the reverse; write and return a report.

    The first template of a pair is enrolled and the second asks; in 1:N the galleries are enrolled. Each constellation has a
    folder with the whole report of `cakd eval ijb`; `mixed.md` and `mixed.json` set them side by side.

    Args:
        teacher: who enrolled.
        student: who is to ask.
        lists: what is compared.
        preset: the conventions.
        modes: at least one.
        target: IJBB or IJBC.
        out: folder of the reports.
        workers: threads.
        progress: called with (pairs scored, pairs in all), for each constellation and mode.

    Raises:
        EvaluationError: embeddings of two widths, not finite, or the folder cannot be written.
    """
    require_one_width(*((model.name, model.embeddings.plain.shape[1]) for model in (teacher, student)))
    cases: list[Case] = []
    for old, new in ((teacher, teacher), (student, student), (teacher, student), (student, teacher)):
        constellation = Constellation(old.name, new.name)
        enrolled = None if old is new else old.embeddings
        found = measure(new.embeddings, lists, preset, modes, workers, progress, enrolled)
        corrupt = lists.faces.by_name(old.embeddings.corrupt | new.embeddings.corrupt)
        subject = Subject(constellation.title, target, preset, new.embeddings.pixels, corrupt)
        save(out / constellation.title.replace(", ", "_").replace(" ", "_"), subject, found)
        cases += [_case(constellation, one) for one in found]
    corrupt = lists.faces.by_name(teacher.embeddings.corrupt | student.embeddings.corrupt)
    lines = [f"# {target}: mixed enrolment", "", _conventions(teacher, student, target, preset)]
    lines += [f"{mode.letters}: {mode.meaning}." for mode in modes] + ([left_out(corrupt)] if corrupt else [])
    text = "\n".join([*lines, "", *_tables(cases, found[0])]) + "\n"
    try:
        with replacing(out / "mixed.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
        write_json(
            out / "mixed.json",
            {"target": target, "preset": preset.name, "corrupt": corrupt, "cases": [_facts(one) for one in cases]},
        )
    except OSError as error:
        raise EvaluationError(f"{out}: cannot be written ({error.strerror}). Choose another --output.") from error
    return text


def _case(constellation: Constellation, found: Measured) -> Case:
    searched = found.identification
    return Case(
        constellation,
        found.mode.letters,
        {far: found.roc.tar_strict(far) for far in FARS} if found.roc else {},
        {rank: searched.mean_rank(rank) for rank in RANKS} if searched else {},
        searched.mean_tpir(FPIR, strict=True) if searched else None,
    )


def _facts(one: Case) -> dict[str, Any]:
    return {
        **vars(one.constellation),
        "mode": one.mode,
        "tar": {f"{far:g}": tar for far, tar in one.tars.items()},
        "rank": {str(rank): share for rank, share in one.ranks.items()},
        f"tpir_at_{FPIR:g}": one.tpir,
    }


def _conventions(teacher: Model, student: Model, target: str, preset: Preset) -> str:
    old, new = (Subject(one.name, target, preset, one.embeddings.pixels, {}).input for one in (teacher, student))
    given = old if old == new else f"{old} of {teacher.name} and {new} of {student.name}"
    return f"Conventions of {preset.name}: input {given}."


def _tables(cases: Sequence[Case], sizes: Measured) -> list[str]:
    """Return the tables, why a number is absent, and the cost; `sizes` is any of the constellations, all have the same pairs."""
    lines: list[str] = []
    if sizes.roc is not None:
        rows = [[_name(one), *map(_percent, one.tars.values())] for one in cases]
        lines += [*table(["1:1, TAR at FAR, strict", *(f"{far:g}" for far in FARS)], rows), "", *_pairs(sizes.roc), ""]
    if sizes.identification is not None:
        rows = [[_name(one), *map(_percent, (*one.ranks.values(), one.tpir))] for one in cases]
        lines += [*table(["1:N", *(f"rank-{rank}" for rank in RANKS), f"TPIR at FPIR {FPIR:g}, strict"], rows), ""]
        if cases[0].tpir is None:
            lines += [_strangers(sizes.identification), ""]
    modes = len(cases) // 4
    for own, kept in zip(cases[modes : 2 * modes], cases[2 * modes : 3 * modes], strict=True):
        lines += [_cost(own, kept)]
    return lines


def _pairs(roc: Roc) -> list[str]:
    count = len(roc.impostors)
    lines = [
        f"In percent, of {len(roc.genuine)} same and {count} different pairs; strict: the false accept rate is never above "
        "the one asked for."
    ]
    if not roc.supports(FARS[0]):
        lines.append(f"{NONE}: {count} different pairs support no FAR below {1 / count:.2g}.")
    return lines


def _strangers(found: Identification) -> str:
    counts = [len(gallery.strangers) for gallery in found.galleries]
    shown = " and ".join(map(str, counts))
    if not min(counts):
        return f"{NONE}: {shown} probes are without a mate in the galleries; a false alarm rate needs some."
    return f"{NONE}: {shown} probes without a mate support no FPIR below {1 / min(counts):.2g}."


def _name(one: Case) -> str:
    return f"{one.constellation.title}, {one.mode}"


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.2f}"


def _cost(own: Case, kept: Case) -> str:
    """Return what keeping the gallery costs against enrolling again."""
    told = []
    far = next((far for far in FARS if far >= TOLD * (1 - 1e-9) and own.tars.get(far) is not None), None)
    if far is not None:
        told.append((f"TAR at FAR {far:g}", own.tars[far], kept.tars[far]))
    if own.ranks:
        told.append((f"rank-{RANKS[0]}", own.ranks[RANKS[0]], kept.ranks[RANKS[0]]))
    costs = [
        f"{100 * (again - old):.2f} points of {what} ({100 * old:.2f} % for {100 * again:.2f} %)"
        for what, again, old in told
        if again is not None and old is not None
    ]
    who, asks = kept.constellation.gallery, kept.constellation.probe
    if not costs:
        return f"{own.mode}: the set supports no number by which to tell the cost of keeping the gallery of {who}."
    return f"{own.mode}: keeping the gallery of {who} under probes of {asks} costs {' and '.join(costs)} against enrolling again."
