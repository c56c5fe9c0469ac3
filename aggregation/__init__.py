"""What the logs mean: from scores.jsonl files to a Parquet dataset, score files and pictures."""
