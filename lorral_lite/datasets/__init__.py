"""Every source of faces, in one prepared format: see :mod:`lorral_lite.datasets.prepared`."""


class DataError(ValueError):
    """Something in the reader's files is wrong: one line with the file, the row where there is one, and the remedy."""
