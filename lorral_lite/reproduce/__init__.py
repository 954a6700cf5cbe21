"""A grid of folds and seeds in one command: the plan, its cells, where they run, what they cost."""
