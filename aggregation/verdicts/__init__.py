"""Whether one side is better than another: comparisons, nights, and runs that leave their reference seeds."""
