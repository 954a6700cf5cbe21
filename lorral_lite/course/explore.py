"""Sliders and buttons for the notebooks. A callback is a plain function from values to a picture; widgets only call it.

Pictures go into the ``value`` of an HTML widget, with their alt text: nothing is printed, so stored outputs stay equal.
"""

import base64
import html
import io
from collections.abc import Callable, Sequence

import ipywidgets as w
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

SLIDER = w.Layout(width="20em")


def picture_html(figure: Figure) -> str:
    """A figure as an <img> element with its alt text, for the value of an HTML widget.

    The PNG keeps all its colours and is packed fast, not small: what a widget shows is not stored in a notebook.
    """
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return image_html(np.asarray(canvas.buffer_rgba())[..., :3], getattr(figure, "alt", "") or "picture")


def image_html(image: np.ndarray, alt: str, style: str = "max-width:100%") -> str:
    """An image (H, W, 3) uint8 as an <img> element."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" style="{style};height:auto" src="data:image/png;base64,{data}">'


def faces_html(images: Sequence[np.ndarray], titles: Sequence[str], width: int = 230) -> str:
    """Images beside each other, each with its title below as text of the page, which the reader's theme colours.

    Each takes ``width`` CSS pixels, however many it has.
    """
    style = f"margin:0 0.6em 0 0;display:inline-block;vertical-align:top;width:{width}px"
    words = [html.escape(title).replace("+", "+<wbr>") for title in titles]  # long notations break behind a plus
    return "".join(f'<figure style="{style}">{image_html(image, title, "width:100%")}'
                   f'<figcaption style="line-height:1.3">{text}</figcaption></figure>'
                   for image, title, text in zip(images, titles, words, strict=True))


def explore(draw: Callable[..., Figure], **controls: w.Widget) -> w.VBox:
    """Controls above a picture that ``draw(**values)`` makes anew whenever one of them changes.

    Controls are any widgets with a ``value``, named by their description or else by their argument; sliders should
    have ``continuous_update=False`` when drawing is slow. A ValueError of ``draw`` is shown in place of the picture.
    Axes stay where the first picture has them, which is quicker and keeps the eye where it was.
    """
    picture, places = w.HTML(), {}

    def redraw(_=None) -> None:
        try:
            figure = draw(**{name: control.value for name, control in controls.items()})
            kind = (len(figure.axes), *figure.get_size_inches())
            if kind in places:
                figure.set_layout_engine("none")
                for ax, place in zip(figure.axes, places[kind], strict=True):
                    ax.set_position(place)
            picture.value = picture_html(figure)
            places.setdefault(kind, [ax.get_position(original=True) for ax in figure.axes])
        except ValueError as error:
            picture.value = f"<p role='alert'>{html.escape(str(error))}</p>"

    for name, control in controls.items():
        control.description = control.description or name
        control.observe(redraw, names="value")
    redraw()
    return w.VBox([w.HBox(list(controls.values()), layout=w.Layout(flex_flow="row wrap")), picture])
