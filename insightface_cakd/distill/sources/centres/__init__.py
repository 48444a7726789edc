"""Class centres that come from the teacher: frozen, or following its embeddings."""

from insightface_cakd.distill.sources.centres.adaface import AdaFace
from insightface_cakd.distill.sources.centres.average import AverageCentres
from insightface_cakd.distill.sources.centres.frozen import QualityCentres, TeacherCentres

# AdaFace first: a margin of the centres goes around its own.
RULES = (AdaFace, TeacherCentres, QualityCentres, AverageCentres)
