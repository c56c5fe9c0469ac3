"""What to run: suites, methods, ratios, grids and the layout of a sweep root. No Ray, no clock."""
