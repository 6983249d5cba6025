"""Lines over two logarithmic axes, as SVG that reads well on light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["Line", "log_log"]

_WIDTH, _HEIGHT = 860, 500
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 250, 64, 56
"""Margins; the lines' names are in the right one."""
_APART = 17
"""Between the baselines of two names, at least."""

_COLOURS = (
    ("#0b5cad", "#6cb2ff"),
    ("#0b5cad", "#6cb2ff"),
    ("#0b5cad", "#6cb2ff"),
    ("#b3261e", "#ff8a80"),
    ("#7a4b00", "#f0b35a"),
    ("#1b7a3d", "#6fd692"),
    ("#7b2d8e", "#d79be6"),
    ("#5f6368", "#a9b0b7"),
)
"""Of the lines in turn, on light and on dark ground: each at least 4.5:1 against it (WCAG 2.2, 1.4.3)."""
_DASHES = ("", "7 4", "3 3", "", "10 3 2 3", "2 3", "12 4", "1 4")
"""Lines can be told apart without their colours."""


@dataclass(frozen=True)
class Line:
    name: str
    points: Sequence[tuple[float, float]]
    """(x, seconds), both above 0, in the order of x."""
    emphasis: bool = False
    look: int | None = None
    """Number of its colour and dashes; by default its place among the lines."""


@dataclass(frozen=True)
class _Axis:
    """One logarithmic axis, from power to power of ten."""

    low: int
    high: int
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (math.log10(value) - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self) -> Iterator[int]:
        return iter(range(self.low, self.high + 1))


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = math.floor(math.log10(min(values)) + 1e-9), math.ceil(math.log10(max(values)) - 1e-9)
    return _Axis(low, max(high, low + 1), start, end)


def log_log(title: str, x_name: str, lines: Sequence[Line], about: str) -> str:
    """An SVG document: a line each, its name at its end, in the order of where they end.

    The ground is part of the picture and follows the reader's colour scheme, so that text is legible where a page's
    own scheme is another.
    """
    across = _axis([x for line in lines for x, _ in line.points], _LEFT, _WIDTH - _RIGHT)
    up = _axis([y for line in lines for _, y in line.points], _HEIGHT - _BOTTOM, _TOP)
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title about">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="about">{escape(about)}</desc>',
        f"<style>{_style(len(_COLOURS))}</style>",
        f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}"/>',
        _text(_LEFT, 28, title, "title"),
        _text(_LEFT, 47, about, "about"),
        *_grid(across, up, x_name),
        *(_drawn(number, line, across, up) for number, line in enumerate(lines)),
        *_names(lines, across, up),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _style(number: int) -> str:
    light = [
        "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-size:16px;font-weight:600}.about{font-size:11px}"
    ]
    light.append(".ground{fill:#fff}.grid{stroke:#d8dee4;stroke-width:1}.line{fill:none;stroke-width:1.8}")
    light.append(".strong{stroke-width:3}.leader{fill:none;stroke:#8c959f;stroke-width:.8}")
    dark = ["text{fill:#e6edf3}.ground{fill:#0d1117}.grid{stroke:#30363d}.leader{stroke:#6e7681}"]
    for at in range(number):
        for sheet, colour in zip((light, dark), _COLOURS[at % len(_COLOURS)], strict=True):
            sheet.append(f".s{at}{{stroke:{colour}}}.d{at},text.d{at}{{fill:{colour}}}")
    return f"{''.join(light)}@media (prefers-color-scheme:dark){{{''.join(dark)}}}"


def _grid(across: _Axis, up: _Axis, x_name: str) -> Iterator[str]:
    for power in across.ticks():
        x = across.at(10**power)
        yield f'<path class="grid" d="M{x:.1f} {up.start:.1f}V{up.end:.1f}"/>'
        yield _text(x, up.start + 20, f"{10**power:,}", anchor="middle")
    for power in up.ticks():
        y = up.at(10**power)
        yield f'<path class="grid" d="M{across.start:.1f} {y:.1f}H{across.end:.1f}"/>'
        yield _text(across.start - 8, y + 4, _seconds(power), anchor="end")
    yield _text((across.start + across.end) / 2, up.start + 42, x_name, anchor="middle")


def _look(number: int, line: Line) -> int:
    return (number if line.look is None else line.look) % len(_COLOURS)


def _drawn(number: int, line: Line, across: _Axis, up: _Axis) -> str:
    number = _look(number, line)
    places = [(across.at(x), up.at(y)) for x, y in line.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    dashes = _DASHES[number % len(_DASHES)]
    strong = " strong" if line.emphasis else ""
    dots = "".join(f'<circle class="d{number}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in places)
    return f'<path class="line s{number}{strong}" stroke-dasharray="{dashes or "none"}" d="{path}"/>{dots}'


def _names(lines: Sequence[Line], across: _Axis, up: _Axis) -> Iterator[str]:
    """Beside the end of each line, or a little away from it, so that no two overlap."""
    ends = sorted((up.at(line.points[-1][1]), number) for number, line in enumerate(lines))
    places: list[float] = []
    for y, _ in ends:
        places.append(max(y, places[-1] + _APART) if places else y)
    over = places[-1] - up.start
    if over > 0:  # from the bottom up again, for as long as they touch
        limit = up.start
        for at in range(len(places) - 1, -1, -1):
            places[at] = min(places[at], limit)
            limit = places[at] - _APART
    for (y, number), place in zip(ends, places, strict=True):
        x, last = across.at(lines[number].points[-1][0]), across.end
        yield f'<path class="leader" d="M{x + 5:.1f} {y:.1f}L{max(x, last) + 16:.1f} {place:.1f}h4"/>'
        yield _text(last + 24, place + 4, lines[number].name, f"d{_look(number, lines[number])}")


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _seconds(power: int) -> str:
    """10 to that power, as one would say it: `100 µs`."""
    unit, base = next(pair for pair in (("s", 0), ("ms", -3), ("µs", -6), ("ns", -9)) if power >= pair[1])
    return f"{10 ** (power - base):,} {unit}"
