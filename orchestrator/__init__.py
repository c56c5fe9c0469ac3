"""Getting a sweep run: the machine that decides, the cluster that acts, and the command line."""
