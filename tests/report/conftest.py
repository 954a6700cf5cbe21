"""What tests of reports share."""

import pytest

from lorral_lite.report import write as reporting


@pytest.fixture
def quick(monkeypatch):
    """Figures are looked at elsewhere: here a report needs only to hold together."""
    monkeypatch.setattr(reporting, "png_bytes", lambda fig: b"png")
