"""The Parquet dataset of a store: how it is written, brought up to date, published and read back."""
