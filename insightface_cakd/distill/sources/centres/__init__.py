"""Class centres that come from the teacher: frozen, or following its embeddings."""

from insightface_cakd.distill.sources.centres.adaface import AdaFace
from insightface_cakd.distill.sources.centres.average import AverageCentres
from insightface_cakd.distill.sources.centres.frozen import QualityCentres, TeacherCentres

RULES = (TeacherCentres, QualityCentres, AverageCentres, AdaFace)
