"""The ratios as a picture: an SVG without scripts. The longer a bar, the better, in every line of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pygal
from pygal.style import CleanStyle

if TYPE_CHECKING:
    from collections.abc import Sequence
    from xml.etree.ElementTree import Element

    from bench.figures import Line

ROW_HEIGHT, HEAD_HEIGHT = 30, 220  # pixels


def bars(lines: Sequence[Line]) -> list[tuple[str, float, float]]:
    """What is compared, how many times as good as the other tool pync is, and how many it has to be."""
    found = []
    for line in lines:
        for goal in line.figure.goals:
            measured = line.measured(goal)
            if goal.against and measured:
                pair = (1 / measured, 1 / goal.bound) if line.figure.less else (measured, goal.bound)
                found.append((f"{line.figure.title} ({goal.against})", *pair))
    return found


def svg(lines: Sequence[Line], caption: str) -> str:
    """The picture."""
    shown = bars(lines)[::-1]  # the first bar is drawn at the bottom
    chart = pygal.HorizontalBar(
        style=CleanStyle(font_family="sans-serif", label_font_size=13, legend_font_size=14, title_font_size=15),
        js=(),
        width=1000,
        height=HEAD_HEIGHT + ROW_HEIGHT * len(shown),
        legend_at_bottom=True,
        zero=0,
        min_scale=4,
        truncate_label=-1,
        title=f"pync beside the tool in brackets: how many times as good\n{caption}",
        value_formatter=lambda value: f"{value:.3g}",
    )
    chart.x_labels = [what for what, _, _ in shown]
    chart.add("pync", [measured for _, measured, _ in shown])
    chart.add("goal", [goal for _, _, goal in shown])
    chart.add_xml_filter(_without_scripts)
    return str(chart.render(is_unicode=True))


def _without_scripts(root: Element) -> Element:
    for parent in list(root.iter()):
        for child in list(parent):
            if isinstance(child.tag, str) and child.tag.rpartition("}")[2] == "script":
                parent.remove(child)
    return root
