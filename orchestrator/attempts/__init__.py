"""What runs on a worker: one attempt, its guarded process, and the way of its files."""
