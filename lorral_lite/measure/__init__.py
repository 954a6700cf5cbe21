"""Metrics and statistics: counts first, then F1, errors, intervals and tests."""
