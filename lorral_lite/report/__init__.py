"""Results: one table of what runs reached, beside the published figures, as page and JSON."""
