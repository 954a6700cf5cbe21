"""What only the notebooks use, by chapter."""
