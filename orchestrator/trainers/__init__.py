"""The programs that a run can execute, one adapter per file, and what the packaged one needs to run."""
