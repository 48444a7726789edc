"""Measuring a model: verification sets, the files a model comes in, the report of a run."""
