"""From log files to records: what was logged, what is bad, and what a resume made void."""
