"""Mixed enrolment on an IJB set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insightface_cakd.errors import EvaluationError
from insightface_cakd.evaluate.ijb.identification import FPIRS, RANKS
from insightface_cakd.evaluate.ijb.measure import Lists, Measured, measure
from insightface_cakd.evaluate.ijb.presets import FARS, Mode, Preset
from insightface_cakd.evaluate.ijb.report import NONE, IjbResult, Subject, closing_far, left_out, save
from insightface_cakd.evaluate.ijb.store import Embeddings
from insightface_cakd.evaluate.mixed.mixed import Combination, Combinations, require_one_width
from insightface_cakd.report.result import Section, SectionedResult
from insightface_cakd.report.tables import Row
from insightface_cakd.runtime.atomic import write_json, write_text
from insightface_cakd.runtime.progress import Progress

FPIR = FPIRS[2]


@dataclass(frozen=True)
class Model:
    """A model and its embeddings of a set."""

    name: str
    embeddings: Embeddings


@dataclass(frozen=True)
class Case:
    """The numbers of one combination in one mode, read strictly.

    A number is None where the set cannot support it.

    Args:
        tars: FAR -> TAR, empty without 1:1.
        ranks: rank -> mean of both galleries, empty without 1:N.
        strangers: number of probes without a mate in each gallery, empty without 1:N.
    """

    models: Combination
    mode: str
    tars: dict[float, float | None]
    ranks: dict[int, float]
    tpir: float | None
    same: int
    different: int
    strangers: tuple[int, ...]

    @property
    def title(self) -> str:
        """Combination and mode."""
        return f"{self.models.title}, {self.mode}"


@dataclass(frozen=True, eq=False)
class MixedIjb(SectionedResult):
    """Two models alone and mixed on an IJB set."""

    conventions: Sequence[str]
    facts_of_set: Mapping[str, Any]
    cases: Combinations[list[Case]]

    @property
    def verdict(self) -> str:
        """What keeping the gallery costs, in the first mode."""
        return self._costs()[0]

    def _costs(self) -> list[str]:
        return [_cost(*both) for both in zip(self.cases.student_alone, self.cases.kept, strict=True)]

    def facts(self) -> dict[str, Any]:
        """Return the numbers of each combination and mode."""
        return {**self.facts_of_set, "cases": [_facts(one) for modes in self.cases for one in modes]}

    def sections(self) -> list[Section]:
        """Return conventions, tables with notes on absent numbers, and the cost."""
        found = [Section("Conventions", notes=self.conventions)]
        cases = [one for modes in self.cases for one in modes]
        if cases[0].tars:
            found.append(Section("1:1", [_tar_row(one) for one in cases], notes=_pairs(cases[0])))
        if cases[0].ranks:
            notes = [] if cases[0].tpir is not None else [_strangers(cases[0].strangers)]
            found.append(Section("1:N", [_rank_row(one) for one in cases], notes=notes))
        return [*found, Section("Cost", notes=self._costs())]

    def text(self) -> str:
        """Return the report as Markdown."""
        return f"# {self.facts_of_set['target']}: mixed enrolment\n\n{super().text()}"


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
) -> MixedIjb:
    """Measure two models alone and mixed, and write the reports.

    The first template of a pair is enrolled and the second is the probe; in 1:N the galleries are enrolled. Each
    combination gets a folder with the complete report of `cakd eval ijb`; `mixed.md` and `mixed.json` put them side by
    side. `progress` is called with (pairs scored, pairs in all), for each combination and mode.
    """
    require_one_width(*((model.name, model.embeddings.plain.shape[1]) for model in (teacher, student)))

    def measure_one(old: Model, new: Model) -> list[Case]:
        models = Combination(old.name, new.name)
        enrolled = None if old is new else old.embeddings
        found = measure(new.embeddings, lists, preset, modes, workers, progress, enrolled)
        corrupt = lists.faces.by_name(old.embeddings.corrupt | new.embeddings.corrupt)
        subject = Subject(models.title, target, preset, new.embeddings.pixels, corrupt)
        save(out / models.title.replace(", ", "_").replace(" ", "_"), IjbResult(subject, found))
        return [_case(models, one) for one in found]

    cases = Combinations.of(teacher, student, measure_one)
    corrupt = lists.faces.by_name(teacher.embeddings.corrupt | student.embeddings.corrupt)
    conventions = [_conventions(teacher, student, target, preset), *(f"{one.letters}: {one.meaning}." for one in modes)]
    conventions += [left_out(corrupt)] if corrupt else []
    result = MixedIjb(conventions, {"target": target, "preset": preset.name, "corrupt": corrupt}, cases)
    write_text(out / "mixed.md", result.text(), EvaluationError)
    write_json(out / "mixed.json", result.facts(), EvaluationError)
    return result


def _case(models: Combination, found: Measured) -> Case:
    searched = found.identification
    return Case(
        models,
        found.mode.letters,
        {far: found.roc.tar_strict(far) for far in FARS} if found.roc else {},
        {rank: searched.mean_rank(rank) for rank in RANKS} if searched else {},
        searched.mean_tpir(FPIR, strict=True) if searched else None,
        len(found.roc.genuine) if found.roc else 0,
        len(found.roc.impostors) if found.roc else 0,
        tuple(len(gallery.strangers) for gallery in searched.galleries) if searched else (),
    )


def _facts(one: Case) -> dict[str, Any]:
    return {
        **vars(one.models),
        "mode": one.mode,
        "tar": {f"{far:g}": tar for far, tar in one.tars.items()},
        "rank": {str(rank): share for rank, share in one.ranks.items()},
        f"tpir_at_{FPIR:g}": one.tpir,
    }


def _conventions(teacher: Model, student: Model, target: str, preset: Preset) -> str:
    old, new = (Subject(one.name, target, preset, one.embeddings.pixels, {}).input for one in (teacher, student))
    given = old if old == new else f"{old} of {teacher.name} and {new} of {student.name}"
    return f"Conventions of {preset.name}: input {given}."


def _tar_row(one: Case) -> Row:
    return {"1:1, TAR at FAR, strict": one.title} | {f"{far:g}": _percent(tar) for far, tar in one.tars.items()}


def _rank_row(one: Case) -> Row:
    ranks = {f"rank-{rank}": _percent(share) for rank, share in one.ranks.items()}
    return {"1:N": one.title} | ranks | {f"TPIR at FPIR {FPIR:g}, strict": _percent(one.tpir)}


def _pairs(one: Case) -> list[str]:
    lines = [
        f"In percent, of {one.same} same and {one.different} different pairs; strict: the false accept rate is never above "
        "the one asked for."
    ]
    if one.tars[FARS[0]] is None:
        lines.append(f"{NONE}: {one.different} different pairs support no FAR below {1 / one.different:.2g}.")
    return lines


def _strangers(counts: Sequence[int]) -> str:
    shown = " and ".join(map(str, counts))
    if not min(counts):
        return f"{NONE}: {shown} probes are without a mate in the galleries; a false alarm rate needs some."
    return f"{NONE}: {shown} probes without a mate support no FPIR below {1 / min(counts):.2g}."


def _percent(share: float | None) -> str:
    return NONE if share is None else f"{100 * share:.2f}"


def _cost(own: Case, kept: Case) -> str:
    """Return the cost of keeping the gallery, compared with enrolling again."""
    compared = []
    far = closing_far([far for far, tar in own.tars.items() if tar is not None])
    if far is not None:
        compared.append((f"TAR at FAR {far:g}", own.tars[far], kept.tars[far]))
    if own.ranks:
        compared.append((f"rank-{RANKS[0]}", own.ranks[RANKS[0]], kept.ranks[RANKS[0]]))
    costs = [
        f"{100 * (again - old):.2f} points of {what} ({100 * old:.2f} % for {100 * again:.2f} %)"
        for what, again, old in compared
        if again is not None and old is not None
    ]
    who, asks = kept.models.gallery, kept.models.probe
    if not costs:
        return f"{own.mode}: the set supports no number by which to tell the cost of keeping the gallery of {who}."
    return f"{own.mode}: keeping the gallery of {who} under probes of {asks} costs {' and '.join(costs)} against enrolling again."
