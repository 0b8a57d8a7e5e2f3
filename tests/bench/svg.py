"""Plots as SVG, written by hand: bars, and curves over a logarithmic x. Each function returns the text of
one file. Colours are those of a palette that is told apart without red and green."""

import math
from xml.sax.saxutils import escape

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444")
WIDTH, TOP = 720, 34


def text(x, y, words, anchor="start", size=12, weight="normal", colour="#222"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'font-weight="{weight}" fill="{colour}">{escape(words)}</text>')


def line(x1, y1, x2, y2, colour="#ddd", width=1.0):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"/>')


def page(height, title, parts):
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(12, 21, title, size=14, weight="bold"), *parts, "</svg>", ""])


def short(value):
    """1500 → 1.5k"""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def ticks(most):
    """Round numbers from 0 to at least `most`, four or five of them."""
    if most <= 0:
        return [0, 1]
    raw = most / 4
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    return [step * i for i in range(math.ceil(most / step * 0.999) + 1)]


def bars(title, unit, rows):
    """rows: [(label, value, least, most, is_ours)]"""
    left, right, pitch = 300, 90, 24
    scale = (WIDTH - left - right) / (max(most for _, _, _, most, _ in rows) or 1)
    parts = []
    for i, (label, value, least, most, is_ours) in enumerate(rows):
        y = TOP + i * pitch
        parts += [text(left - 8, y + 14, label, "end", weight="bold" if is_ours else "normal"),
                  f'<rect x="{left}" y="{y + 2}" width="{max(1, value * scale):.1f}" height="16" '
                  f'fill="{COLOURS[0] if is_ours else "#b0b7bd"}"/>']
        if most > least:
            parts.append(line(left + least * scale, y + 10, left + most * scale, y + 10, "#222", 1.5))
        parts.append(text(left + most * scale + 6, y + 14, f"{short(value)} {unit}"))
    return page(TOP + len(rows) * pitch + 10, title, parts)


def x_places(values, left, width):
    """{value: x}; 0 has a place of its own left of the others, which stand by their logarithm."""
    positive = [value for value in values if value > 0]
    logs = [math.log10(value) for value in positive] or [0]
    low, high = min(logs), max(logs)
    begin = left + (width * 0.12 if 0 in values else 0)
    span = left + width - begin
    places = {value: begin + (span * (log - low) / (high - low) if high > low else span / 2)
              for value, log in zip(positive, logs)}
    return {**places, **({0: left} if 0 in values else {})}


def one_curve(points, places, top, bottom, most, colour):
    def y_of(value):
        return bottom - (bottom - top) * value / most
    spots = [(places[x], *(y_of(value) for value in values)) for x, *values in points]
    parts = [line(x, low, x, high, colour, 1) for x, _, low, high in spots]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in spots)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return parts + [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y, _, _ in spots]


def curves(title, x, y, series):
    """series: {label: [[x, median, least, most]]}"""
    left, top, bottom = 64, TOP + 14, 260
    values = sorted({point[0] for points in series.values() for point in points})
    places = x_places(values, left + 14, WIDTH - left - 40)
    marks = ticks(max(point[3] for points in series.values() for point in points))
    parts = [text(12, TOP + 8, y, colour="#555")]
    for mark in marks:
        height = bottom - (bottom - top) * mark / marks[-1]
        parts += [line(left, height, WIDTH - 20, height), text(left - 6, height + 4, short(mark), "end")]
    parts += [text(places[value], bottom + 18, short(value), "middle") for value in values]
    parts.append(text(WIDTH - 20, bottom + 36, x, "end", colour="#555"))
    for i, (label, points) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        parts += one_curve(points, places, top, bottom, marks[-1], colour)
        parts += [f'<circle cx="{left + 6 + i * 200}" cy="{bottom + 48}" r="4" fill="{colour}"/>',
                  text(left + 16 + i * 200, bottom + 52, label)]
    return page(bottom + 66, title, parts)
