"""Environments of the embedded trainer, one file per suite under the names that its main.py imports."""
