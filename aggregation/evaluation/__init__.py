"""From scores to the numbers of a table, by a protocol."""
