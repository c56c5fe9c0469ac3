"""The report: one HTML file with the scores, curves, coverage and origin of some sweeps, which needs no network."""
