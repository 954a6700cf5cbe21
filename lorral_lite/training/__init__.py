"""The two steps of training, what decides a run, its folder, and its evaluation."""
