"""Ray, and nothing else knows it: attempts as actors on the nodes that the machine chose."""
