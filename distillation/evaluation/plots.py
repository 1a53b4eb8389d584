"""The plots of a report: inline SVG whose colours follow the page, the same bytes for the same figures."""

import re
from collections.abc import Callable, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from keydistill.distillation.evaluation.bootstrap import Estimate
from keydistill.distillation.evaluation.measures import ABOUT
from keydistill.distillation.evaluation.result import Category, Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Matplotlib needs colours, the page decides them: each of these stands for a variable of its style sheet.
_INK, _FAINT, _FIRST, _SECOND = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {_INK: "var(--ink)", _FAINT: "var(--line)", _FIRST: "var(--first)", _SECOND: "var(--second)"}
# Inches at 72 units each: at 360 pixels on a phone as wide as its column.
_WIDTH, _HEIGHT = 4.6, 2.9
# Most categories in a chart.
CATEGORIES = 12
_STYLE: Any = {
    # A dollar sign in a category is no formula.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "keydistill",
    "font.size": 10,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


def by_cutoff(name: str, evaluations: Sequence[Evaluation]) -> str:
    """One measure against the length of the list, a line per student."""

    def draw(axes: "Axes") -> None:
        for number, evaluation in enumerate(evaluations):
            names = [f"{name}@{k}" for k in evaluation.cutoffs]
            # Short lists may have too few judged pairs where long ones have enough.
            estimates = [
                evaluation.estimates.get(each)
                if each in evaluation.supports and evaluation.supports[each].is_enough
                else None
                for each in names
            ]
            _line(axes, number, evaluation.cutoffs, estimates)
        axes.set_xlabel("keyphrases per item (k)")
        _y_axis(axes, name)

    return _svg(f"{name}-by-k", f"{ABOUT[name].title} by list length", draw)


def by_category(name: str, evaluations: Sequence[Evaluation], categories: Sequence[Category]) -> str:
    """One measure, with its cut-off, in categories of the first evaluation."""

    def draw(axes: "Axes") -> None:
        gap = 0.8 / len(evaluations)
        for number, evaluation in enumerate(evaluations):
            # Of the other student too, nothing is drawn that too few judged pairs are behind.
            estimates = {
                category.name: category.estimates.get(name)
                for category in evaluation.categories
                if name in category.supports and category.supports[name].is_enough
            }
            for place, category in enumerate(categories):
                estimate = estimates.get(category.name)
                if estimate is None or estimate.value is None:
                    continue
                y = place + gap * (number - (len(evaluations) - 1) / 2)
                axes.barh(y, estimate.value, gap * 0.85, color=_color(number), alpha=0.85)
                if estimate.low is not None and estimate.high is not None:
                    # With caps: an interval of no width shows, too.
                    axes.plot(
                        [estimate.low, estimate.high], [y, y], color=_INK, linewidth=0.8, marker="|", markersize=6
                    )
        axes.set_yticks(range(len(categories)), [_category_label(each, name) for each in categories])
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(left=0)
        axes.set_xlabel(_labelled(name))
        _percent(axes.xaxis, name)

    height = 0.9 + 0.3 * len(categories) * (1 + 0.35 * (len(evaluations) - 1))
    return _svg("by-category", f"{_labelled(name)} by category", draw, height=height)


def by_dimension(names: Sequence[str], evaluation: Evaluation) -> str:
    """Measures against the Matryoshka dimension."""
    dimensions = sorted(evaluation.dimensions)

    def draw(axes: "Axes") -> None:
        for number, name in enumerate(names):
            estimates = [evaluation.dimensions[dimension].get(name) for dimension in dimensions]
            _line(axes, number, dimensions, estimates, label=_labelled(name))
        axes.set_xlabel("dimensions kept")
        _y_axis(axes, names[0])
        axes.set_ylabel("")
        _legend_above(axes)

    return _svg("by-dimension", "Quality by Matryoshka dimension", draw)


def score_distribution(evaluation: Evaluation) -> str:
    """Histograms of the scores of relevant and of irrelevant pairs, each of area 1."""
    histogram = evaluation.histogram
    assert histogram is not None

    def draw(axes: "Axes") -> None:
        for counts, color, label in (
            (histogram.relevant, _FIRST, "relevant"),
            (histogram.irrelevant, _SECOND, "irrelevant"),
        ):
            total = sum(counts)
            if total:
                share = [count / total for count in counts]
                axes.stairs(share, histogram.edges, fill=True, color=color, alpha=0.35)
                axes.stairs(share, histogram.edges, color=color, linewidth=1.5, label=f"{label} ({total:,})")
        axes.set_xlabel("cosine similarity")
        axes.set_ylabel("share of pairs")
        axes.set_yticks([])
        _legend_above(axes)

    return _svg("scores", f"Scores of {histogram.of}", draw)


def _line(
    axes: "Axes", number: int, x: Sequence[int], estimates: Sequence[Estimate | None], label: str | None = None
) -> None:
    points = [
        (place, estimate.value, estimate.low, estimate.high)
        for place, estimate in enumerate(estimates)
        if estimate is not None and estimate.value is not None
    ]
    places = [place for place, *_ in points]
    axes.plot(
        places,
        [value for _, value, _, _ in points],
        color=_color(number),
        linestyle=("-", "--", ":")[number % 3],
        marker="o",
        markersize=4,
        linewidth=1.6,
        label=label,
    )
    sure = [(place, low, high) for place, _, low, high in points if low is not None and high is not None]
    axes.fill_between(
        [place for place, _, _ in sure],
        [low for _, low, _ in sure],
        [high for _, _, high in sure],
        color=_color(number),
        alpha=0.18,
        linewidth=0,
    )
    for place, low, high in sure:
        axes.plot([place, place], [low, high], color=_color(number), linewidth=0.8, marker="_", markersize=6)
    # Evenly spaced: cut-offs and dimensions grow by factors.
    axes.set_xticks(range(len(x)), [str(each) for each in x])


def _y_axis(axes: "Axes", name: str) -> None:
    axes.set_ylim(bottom=0)
    axes.set_ylabel(ABOUT[name.partition("@")[0]].title)
    axes.grid(axis="y")
    _percent(axes.yaxis, name)


def _percent(axis: "Axis", name: str) -> None:
    from matplotlib.ticker import PercentFormatter

    if ABOUT[name.partition("@")[0]].share:
        axis.set_major_formatter(PercentFormatter(1))


def _legend_above(axes: "Axes") -> None:
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=9)


def _svg(key: str, title: str, draw: Callable[["Axes"], None], height: float = _HEIGHT) -> str:
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    # Whatever the user's own matplotlibrc says.
    with rc_context():
        _apply_style()
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        text = StringIO()
        # Nothing that changes from day to day or names the program's version.
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inlined(text.getvalue(), key, title)


def _apply_style() -> None:
    import matplotlib as mpl

    mpl.rcdefaults()
    mpl.rcParams.update(_STYLE)


def _inlined(svg: str, key: str, title: str) -> str:
    """The `svg` element alone: ids of its own, colours from the page, the page's width, a name for screen readers."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{key}-", svg)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, variable)
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', _start_tag(title), svg, count=1, flags=re.DOTALL)


def _start_tag(title: str) -> Callable[["re.Match[str]"], str]:
    from html import escape

    def tag(match: "re.Match[str]") -> str:
        return f'<svg viewBox="{match[1]}" role="img" aria-label="{escape(title)}" xmlns:xlink="http://www.w3.org/1999/xlink">'

    return tag


def _color(number: int) -> str:
    return (_FIRST, _SECOND)[number % 2]


def _labelled(name: str) -> str:
    base, _, k = name.partition("@")
    return f"{ABOUT[base].title}@{k}" if k else ABOUT[base].title


def _category_label(category: Category, name: str) -> str:
    support = category.supports[name]
    return f"{_cut(category.name)} ({support.pairs:,} / {support.keyphrases:,})"


def _cut(text: str) -> str:
    return text if len(text) <= 22 else f"{text[:21]}…"
