"""Where the files of the repository's ``data`` folder lie, in a checkout and in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_file(*parts: str) -> Path:
    """Path of one file or folder of ``data``: ``data_file("protocol", "folds.json")``.

    A wheel carries ``data`` as ``lorral_lite/_data``; in a checkout (editable installation) it lies beside the
    package. Raises FileNotFoundError when it is in neither.
    """
    for root in (_PACKAGE / "_data", _PACKAGE.parent / "data"):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(
        f"{'/'.join(('data', *parts))} is missing: the installation is incomplete, install lorral-lite again"
    )
