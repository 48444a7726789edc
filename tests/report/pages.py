"""A result of every kind that the package can write a page of, from small measurements.

Kinds are not listed here: `result_kinds` finds them, and a kind without a sample fails a test.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from functools import cache
from inspect import isabstract
from pathlib import Path

import numpy as np

import insightface_cakd
from insightface_cakd.data.bins import load_bin
from insightface_cakd.data.faces import write_face_set
from insightface_cakd.data.landmarks.sets import read_points
from insightface_cakd.evaluate.compare.comparison import Cost, Pairs, compare_pairs
from insightface_cakd.evaluate.compare.protocols import SideBySide
from insightface_cakd.evaluate.compare.tables import ModelComparison
from insightface_cakd.evaluate.identify.folders import IdentifiedFolders, Pictures
from insightface_cakd.evaluate.identify.protocol import identify
from insightface_cakd.evaluate.ijb.lists import find_tree, read_faces
from insightface_cakd.evaluate.ijb.measure import measure, read_lists
from insightface_cakd.evaluate.ijb.mixed import MixedIjb, Model, measure_mixed
from insightface_cakd.evaluate.ijb.presets import choose_modes, find_preset
from insightface_cakd.evaluate.ijb.report import IjbResult, Subject
from insightface_cakd.evaluate.ijb.store import open_saved
from insightface_cakd.evaluate.landmarks.measure import FullErrors, PointErrors, shape_floors
from insightface_cakd.evaluate.liveness.result import LivenessResult, Scored
from insightface_cakd.evaluate.mixed.mixed import Combination, Combinations
from insightface_cakd.evaluate.mixed.search import Found, Searched
from insightface_cakd.evaluate.mixed.sets import MixedEnrolment, MixedSets, mixed_sets
from insightface_cakd.evaluate.pairs.mistakes import nearest_mistakes
from insightface_cakd.evaluate.pairs.periocular import PeriocularResults, measure_periocular
from insightface_cakd.evaluate.pairs.set_tables import SetResults
from insightface_cakd.evaluate.pairs.sets import measure_sets
from insightface_cakd.evaluate.pairs.variants import parse_variants
from insightface_cakd.evaluate.pairs.verification import judge
from insightface_cakd.networks.latency import Latency
from insightface_cakd.report.result import Result, SectionedResult
from tests.evaluate.ijb.trees import write_tree
from tests.evaluate.verification_files import pooled, run_on_cpu
from tests.point_sets import FACE, shaken, write_folder


def result_kinds() -> set[type[Result]]:
    """Return every concrete `Result` of the package."""
    for module in pkgutil.walk_packages(insightface_cakd.__path__, "insightface_cakd."):
        if not module.name.endswith("__main__") and "stand_ins" not in module.name and ".upstream" not in module.name:
            importlib.import_module(module.name)

    def below(kind: type[Result]) -> Iterator[type[Result]]:
        for one in kind.__subclasses__():
            yield one
            yield from below(one)

    ours = {one for one in below(Result) if one.__module__.startswith("insightface_cakd.")}
    return {one for one in ours - {SectionedResult} if not isabstract(one)}


class Samples:
    """Measurements of each kind, made from files in a folder, each when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_face_set(folder / "data", people=2, pictures=4, pairs=80, seed=7)
        self.set = folder / "data" / "dev.bin"

    def results(self) -> dict[type[Result], Callable[[], Result]]:
        """Return kind -> what makes one."""
        return {
            SetResults: self.sets,
            PeriocularResults: self.strips,
            ModelComparison: self.comparison,
            SideBySide: lambda: SideBySide({"student": self.sets(), "teacher": self.sets()}),
            MixedSets: self.mixed,
            MixedEnrolment: lambda: MixedEnrolment(self.mixed(), self.searched(), ["a.jpg: it has 0 bytes"]),
            Searched: self.searched,
            IdentifiedFolders: self.identified,
            PointErrors: lambda: self.points(PointErrors),
            FullErrors: lambda: self.points(FullErrors),
            LivenessResult: self.liveness,
            IjbResult: self.ijb,
            MixedIjb: self.mixed_ijb,
        }

    @cache  # noqa: B019
    def sets(self) -> SetResults:
        """Measure a set, with mistakes to show."""
        return SetResults(measure_sets(pooled(6), [self.set], parse_variants(["plain", "lowres:14"]), run_on_cpu(64)))

    @cache  # noqa: B019
    def strips(self) -> PeriocularResults:
        """Measure a set by strip and face."""
        return measure_periocular(pooled(6), [self.set], run_on_cpu(64))

    def comparison(
        self, names: tuple[str, ...] = ("student alone", "student + distillation", "teacher")
    ) -> ModelComparison:
        """Compare models of known distances."""
        pairs, random = load_bin(self.set), np.random.default_rng(3)
        distances = {
            name: np.where(pairs.same, 1.2, 1.2 + gap) + random.normal(0, 0.4, len(pairs.same)).clip(-1, 1)
            for gap, name in enumerate(names)
        }
        costs = {
            name: Cost("torch", 1.5 + gap, 2_000_000, Latency(3.0 + gap, 2.5, 4.0, 9)) for gap, name in enumerate(names)
        }
        wrong = {
            name: nearest_mistakes("dev", judge(one, pairs.same, "dev"), pairs.images)
            for name, one in distances.items()
        }
        found = compare_pairs({"dev": Pairs(pairs.same, distances)})
        return ModelComparison(found, costs, mistakes=wrong)

    def mixed(self) -> MixedSets:
        """Measure two models that agree, alone and mixed."""
        student = pooled(4, gain=2.0)
        return mixed_sets(("teacher", pooled(4)), ("student", student), [self.set], run_on_cpu(64))

    def searched(self) -> Searched:
        """Search people among others."""
        drawn = np.random.default_rng(0).random((40,)) < 0.7

        def find(old: str, new: str) -> Found:
            return Found(Combination(old, new), drawn)

        return Searched("people", Combinations.of("teacher", "student", find), 12)

    def identified(self) -> IdentifiedFolders:
        """Identify people among distractors."""
        random = np.random.default_rng(0)
        people = np.repeat(np.arange(10), 3)
        probes = random.normal(size=(10, 16))[people] + 0.3 * random.normal(size=(30, 16))
        found = identify(probes, list(people), [random.normal(size=(120, 16))], 120)
        return IdentifiedFolders(found, Pictures([], [], [], 1, 2), ["a.jpg: it has 0 bytes"])

    def points(self, kind: type[PointErrors]) -> PointErrors:
        """Measure points that are off by a few pixels."""
        folder = self.folder / "points"
        if not folder.exists():
            write_folder(folder, "test", shaken(FACE, 16, seed=2))
        points = read_points(folder, "test")
        found = points.points + np.random.default_rng(1).normal(0, 2, points.points.shape).astype(np.float32)
        return kind(points, found, shape_floors(points, points), ("mean shape: that of the test set.",))

    def liveness(self, domain: str = "evening") -> LivenessResult:
        """Score live and spoofed faces."""
        random, live = np.random.default_rng(4), np.arange(80) % 2
        scored = Scored(np.clip(0.5 + 0.2 * (live - 0.5) + random.normal(0, 0.15, 80), 0, 1), live)
        return LivenessResult(scored, {domain: scored}, "morning, noon")

    def ijb(self) -> IjbResult:
        """Measure saved embeddings on a drawn IJB tree."""
        (rows, _), lists, preset, modes = self._ijb()
        return IjbResult(Subject("student", "IJBC", preset, rows.pixels, {}), measure(rows, lists, preset, modes))

    def mixed_ijb(self) -> MixedIjb:
        """Measure two models' saved embeddings on a drawn IJB tree."""
        (rows, others), lists, preset, modes = self._ijb()
        models = Model("teacher", others), Model("student", rows)
        return measure_mixed(*models, lists, preset, modes, "IJBC", self.folder / "mixed_ijb")

    def _ijb(self):
        root = self.folder / "ijb"
        if not root.exists():
            write_tree(root, pairs=400)
            for number, name in enumerate(("student", "teacher")):
                rows = np.random.default_rng(number).standard_normal((48, 16)).astype(np.float32)
                np.savez(self.folder / f"{name}.npz", embs=rows, embs_f=rows)
        tree = find_tree(root, "IJBC")
        faces, preset = read_faces(tree), find_preset("eval_ijbc")
        saved = [open_saved(self.folder / f"{name}.npz", tree, faces) for name in ("student", "teacher")]
        return saved, read_lists(tree, faces, "both"), preset, choose_modes(preset, "N1D1F1,N0D0F0")
