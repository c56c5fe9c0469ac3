"""Pictures of curves, tables, studies and verdicts."""
