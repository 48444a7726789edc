"""Asks the doctor, and takes its answer apart."""

from insightface_cakd.doctor.examine import examine
from insightface_cakd.doctor.findings import Case


def texts(found, kind):
    return [finding.text for finding in found if finding.kind == kind]


def of(host, **more):
    return list(examine(Case(host=str(host), **more)))


def problems(config=None, data=None, **more):
    """Return the problems of a case without a checkout."""
    return texts(examine(Case(config, data, **more)), "problem")


def lines(config=None, data=None, **more):
    """Return every line of a case without a checkout."""
    return [str(finding) for finding in examine(Case(config, data, **more))]
