"""Asks the doctor, and takes its answer apart."""

from insightface_cakd.doctor.examine import examine
from tests.jobs import job


def texts(found, kind):
    return [finding.text for finding in found if finding.kind == kind]


def of(host, **more):
    return list(examine(job(host=str(host), **more)))


def problems(config=None, data=None, **more):
    """Return the problems of a case without a checkout."""
    return texts(examine(job(config, data=data, **more)), "problem")


def lines(config=None, data=None, **more):
    """Return every line of a case without a checkout."""
    return [str(finding) for finding in examine(job(config, data=data, **more))]
