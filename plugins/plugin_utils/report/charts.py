"""Draws charts as SVG for a page, with matplotlib, in the page's colours.

Each chart is a string that begins with ``<svg``. Its colours are the page's own CSS variables, so it follows the
page's dark, light and print styles; its text is selectable. Series differ by colour, by line and by marker.
"""

from __future__ import annotations

import html
import io
import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

# Placeholders that matplotlib can draw with, and the page's values for them.
_INK, _QUIET, _LINE, _PAPER = "#010101", "#020202", "#030303", "#040404"
_SERIES = ("#050505", "#060606", "#070707", "#080808", "#090909", "#0a0a0a")
_VARIABLES = {_INK: "--ink", _QUIET: "--quiet", _LINE: "--line", _PAPER: "--paper"} | {
    colour: f"--series-{number}" for number, colour in enumerate(_SERIES, 1)
}
_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 2)), "-.", (0, (8, 2, 2, 2)), ":")
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "flaskops",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _QUIET,
    "ytick.color": _QUIET,
    "text.color": _INK,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}
_names = itertools.count(1)
# Inches: of a chart, and of a line of a legend below it.
_HEIGHT, _LEGEND_ROW = 3.1, 0.22
# With more series, no place within a chart is free for their names.
_NAMES_INSIDE = 3


def _draw(paint: Callable[[Axes], None], words: str, height: float = _HEIGHT) -> str:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, height), layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        paint(axes)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(stream.getvalue(), words)


def _inline(text: str, words: str) -> str:
    """Turn an SVG file into a part of a page, without prologue, with unique names and the page's colours."""
    name = f"chart{next(_names)}"
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'((?:xlink:)?href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    text = re.sub(r' (?:width|height)="[\d.]+pt"', "", text, count=2)
    return text.replace("<svg ", f'<svg role="img" aria-label="{html.escape(words)}" ', 1)


def number(value: float) -> str:
    """Return a number rounded for reading."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


def _short(value: float, _position: int = 0) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _log(axes: Axes, which: str, ticks: Sequence[float]) -> None:
    axis = getattr(axes, f"{which}axis")
    getattr(axes, f"set_{which}scale")("log")
    axis.set_ticks(list(ticks))
    axis.set_major_formatter(FuncFormatter(_short))
    axis.set_minor_locator(NullLocator())


def _round_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten, or only powers of ten if there would be many, around two numbers."""
    high = max(high, 1.01 * low)
    steps = (1, 2, 5) if high / low < 50 else (1,)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [step * 10.0**exponent for exponent in exponents for step in steps]
    first = max((tick for tick in ticks if tick <= low), default=low)
    last = min((tick for tick in ticks if tick >= high), default=high)
    return [tick for tick in ticks if first <= tick <= last]


def _style(number: int) -> dict[str, Any]:
    place = number % len(_SERIES)
    return {
        "color": _SERIES[place],
        "linestyle": _DASHES[place],
        "marker": _MARKERS[place],
        "markersize": 5,
        "markerfacecolor": _PAPER,
        "linewidth": 1.6,
    }


def ladder(
    series: Mapping[str, Sequence[tuple[float, float, float, float]]],
    ideal: Sequence[tuple[float, float]],
    words: str,
    labels: tuple[str, str] = ("requests in flight (c)", "requests per second"),
) -> str:
    """Draw a figure against a number that doubles from step to step, with the minimum and maximum of the rounds.

    Args:
        series: by name, points of the number (concurrency), median, minimum and maximum.
        ideal: points of concurrency and the maximum rate for that many clients; empty if unknown.
        words: a description of the chart, for screen readers.
        labels: of the two axes.
    """

    def paint(axes: Axes) -> None:
        axes.grid(True, axis="y")
        if ideal:
            axes.plot(*zip(*ideal, strict=True), color=_QUIET, linewidth=1, label="ideal: c ÷ wait", zorder=1)
        for row, (name, points) in enumerate(series.items()):
            x, middle, low, high = zip(*points, strict=True)
            spread = [
                [a - b for a, b in zip(middle, low, strict=True)],
                [a - b for a, b in zip(high, middle, strict=True)],
            ]
            axes.errorbar(x, middle, spread, label=name, capsize=3, elinewidth=1, **_style(row))
        _log(axes, "x", sorted({point[0] for points in series.values() for point in points}))
        rates = [rate for points in series.values() for _, *figures in points for rate in figures if rate > 0]
        _log(axes, "y", _round_ticks(min(rates), max([*rates, *(limit for _, limit in ideal)])))
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.legend(loc="best")

    return _draw(paint, words)


def latency(series: Mapping[str, Sequence[float]], limits: tuple[float, float], words: str) -> str:
    """Draw milliseconds against the share of requests within them, stretched towards the slowest.

    Args:
        series: by name, milliseconds at each percent from 0 to 99 or 100.
        limits: minimum and maximum milliseconds of all charts to compare.
        words: a description of the chart, for screen readers.
    """
    marks = {0: "0", 50: "50", 90: "90", 99: "99", 100: "max"}
    rows = math.ceil(len(series) / 2) if len(series) > _NAMES_INSIDE else 0

    def place(percent: int) -> float:
        # 100 % would be infinitely far away.
        return 2.4 if percent >= 100 else -math.log10((100 - percent) / 100)

    def paint(axes: Axes) -> None:
        axes.grid(True, axis="y")
        for row, (name, curve) in enumerate(series.items()):
            style = _style(row) | {"markevery": [mark for mark in marks if mark < len(curve)]}
            places = [place(percent) for percent in range(len(curve))]
            # A logarithm has no zero.
            axes.plot(places, [max(ms, 0.1) for ms in curve], label=name, **style)
            for mark in style["markevery"] if len(series) == 1 else ():
                at = (places[mark], max(curve[mark], 0.1))
                axes.annotate(number(curve[mark]), at, xytext=(0, 6), textcoords="offset points", ha="center")
        axes.set_xticks([place(percent) for percent in marks], list(marks.values()))
        ticks = _round_ticks(max(limits[0], 0.1), max(limits[1], 0.2))
        _log(axes, "y", ticks)
        axes.set_ylim(ticks[0], ticks[-1])
        axes.set_xlabel("percent of the requests served within")
        axes.set_ylabel("milliseconds")
        if rows:
            axes.figure.legend(loc="outside lower center", ncols=2)
        elif len(series) > 1:
            axes.legend(loc="best")

    return _draw(paint, words, _HEIGHT + rows * _LEGEND_ROW)


def bars(values: Mapping[str, float], unit: str, words: str) -> str:
    """Draw one bar for each name, with its number beside it.

    Args:
        values: number by name.
        unit: the unit of the numbers.
        words: a description of the chart, for screen readers.
    """

    def paint(axes: Axes) -> None:
        names = list(values)
        colours = [_SERIES[row % len(_SERIES)] for row in range(len(names))]
        drawn = axes.barh(names, list(values.values()), color=colours, height=0.55)
        axes.bar_label(drawn, [f"{number(value)} {unit}".strip() for value in values.values()], color=_INK, padding=4)
        axes.invert_yaxis()
        axes.margins(x=0.3)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0, labelcolor=_INK)

    return _draw(paint, words, height=0.5 + 0.42 * len(values))
