"""The report of every quickstart, from small measurements and runs that were never trained."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from insightface_cakd.data.bins import load_bin
from insightface_cakd.evaluate.compare.summary import RunComparison
from insightface_cakd.evaluate.landmarks.measure import PointErrors
from insightface_cakd.evaluate.pairs.set_tables import SetResults
from insightface_cakd.hosts.embedded.train_v2 import RunResult
from insightface_cakd.quickstart import identification, landmarks, liveness, lowres, periocular, synthetic
from insightface_cakd.quickstart.verdict import Reached, verdict
from insightface_cakd.report.result import Picture, Result, Section
from insightface_cakd.report.run_report import Report, page_sections, write_report, write_result
from insightface_cakd.show.picture import as_png, draw
from insightface_cakd.show.synthetic import Sheet, draw_sheet
from tests.evaluate.runs import write_run
from tests.report.pages import Samples
from tests.show.test_picture import look

EXPORTED = "student.onnx: 1.0 MB, cosine with the weights 0.999999; insightface.model_zoo loads it"


class AllSamples(Samples):
    """Those of results, and a report of each quickstart."""

    def quickstarts(self) -> dict[str, Callable[[], Report]]:
        """Return task -> what makes its report."""
        return {
            "identification": self.identification,
            "landmarks": self.landmarks,
            "liveness": lambda: liveness.report_of(
                self.runs(liveness.STAGES),
                {one.title: self.liveness(liveness.HELD_OUT) for one in liveness.STAGES},
                EXPORTED,
            ),
            "lowres": self.lowres,
            "periocular": lambda: periocular.report_of(
                self.runs(periocular.STAGES),
                {one.title: self.strips() for one in periocular.STAGES},
                EXPORTED,
            ),
            "synthetic": self.synthetic,
        }

    def write(self, kind: type[Result] | str, path: Path) -> Path:
        """Write the page of a kind."""
        if isinstance(kind, str):
            write_report(path, self.quickstarts()[kind]())
        else:
            write_result(path, f"{kind.__name__}: student.onnx", self.results()[kind]())
        return path

    def runs(self, stages, distilled: bool = False) -> Path:
        """Write a run for each stage of a quickstart; return the folder. Those of one page have all the curves there are."""
        root = self.folder / ("distilled_runs" if distilled else "runs")
        for stage in stages:
            if not (root / stage.folder).exists():
                write_run(root / stage.folder, distilled=distilled and stage.recipe is not None)
        return root

    def accuracies(self, stages) -> dict[str, RunResult]:
        """Return a result of each stage."""
        return {one.title: RunResult(accuracy={"dev": 0.8 + 0.03 * n}, seconds=60.0) for n, one in enumerate(stages)}

    def identification(self) -> Report:
        """Report three models with everything that the method can show."""
        stages = (identification.TEACHER, identification.ALONE, identification.DISTILLED)
        folder = self.runs(stages, distilled=True)
        picture = Picture(
            as_png(draw(sample := look(faces=2), "Where the local centres look", captioned=False)),
            sample.caption,
            sample.alt,
        )
        outcome = self.comparison()
        differences = {name: one.difference for name, one in outcome.comparison.models.items() if one.difference}
        compared = RunComparison(page_sections(outcome), [], differences, 80)
        models = {one.title: folder / one.folder for one in stages}
        return identification.report_of(
            models,
            self.accuracies(stages),
            EXPORTED,
            compared,
            [Section("Local fields", picture=picture)],
            verdict(Reached(0.9, 0.83, 0.86, 80, 0.01, given=False)),
        )

    def landmarks(self) -> Report:
        """Report three networks that find points."""
        found = self.points(PointErrors)
        return landmarks.report_of(
            self.runs(landmarks.STAGES), {one.title: found for one in landmarks.STAGES}, EXPORTED
        )

    def lowres(self) -> Report:
        """Report students at every size."""
        (plain, *_) = self.sets().sets
        sets = [
            replace(plain, variant=f"lowres:{size}", face_bn=share) for share in (0.0, 0.5) for size in lowres.SIZES
        ]
        students = [one for one in lowres.STAGES if one is not lowres.TEACHER]
        return lowres.report_of(self.runs(lowres.STAGES), {one.title: SetResults(sets) for one in students}, EXPORTED)

    def synthetic(self) -> Report:
        """Report students of generated faces."""
        stages = (synthetic.TEACHER, *synthetic.STUDENTS)
        faces = load_bin(self.set).images[:32].reshape(4, 8, 112, 112, 3)
        sheet = synthetic_sheet(faces)
        return synthetic.report_of(self.runs(stages), self.accuracies(stages), EXPORTED, sheet)


def synthetic_sheet(faces: np.ndarray) -> Section:
    """Return the section of easy and hard faces."""
    sheet = Sheet(faces, np.linspace(0.4, 0.9, 32).reshape(4, 8), np.linspace(0.3, 0.95, 64))
    return Section(
        "Hard and easy faces",
        picture=Picture(as_png(draw_sheet(sheet, "Hard and easy faces")), sheet.caption, sheet.alt),
    )
