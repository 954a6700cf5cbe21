"""Sliders and buttons for the notebooks. A callback is a plain function from values to a picture; widgets only call it.

Pictures go into the ``value`` of an HTML widget, with their alt text: nothing is printed, so stored outputs stay equal.
"""

import base64
from collections.abc import Callable

import ipywidgets as w
from matplotlib.figure import Figure

from .figures import png_bytes

SLIDER = w.Layout(width="20em")


def picture_html(figure: Figure, width: str = "100%") -> str:
    """A figure as an <img> element with its alt text, for the value of an HTML widget."""
    data = base64.b64encode(png_bytes(figure)).decode()
    alt = getattr(figure, "alt", "") or "picture"
    return f'<img alt="{alt}" style="max-width:{width};height:auto" src="data:image/png;base64,{data}">'


def explore(draw: Callable[..., Figure], **controls: w.Widget) -> w.VBox:
    """Controls above a picture that ``draw(**values)`` makes anew whenever one of them changes.

    Controls are any widgets with a ``value``; sliders should have ``continuous_update=False`` when drawing is slow.
    A ValueError of ``draw`` is shown in place of the picture. The box has attributes ``picture`` and ``controls``.
    """
    picture = w.HTML()

    def redraw(_=None) -> None:
        try:
            picture.value = picture_html(draw(**{name: control.value for name, control in controls.items()}))
        except ValueError as error:
            picture.value = f"<p role='alert'>{error}</p>"

    for control in controls.values():
        control.observe(redraw, names="value")
    redraw()
    box = w.VBox([w.HBox(list(controls.values()), layout=w.Layout(flex_flow="row wrap")), picture])
    box.picture, box.controls = picture, controls
    return box
