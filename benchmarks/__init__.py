"""Times dreamsweep beside its peers, in one run each, so that ratios can be read. `python -m benchmarks NAME`."""
