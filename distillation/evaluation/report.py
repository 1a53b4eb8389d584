"""The report of an evaluation: figures as JSON, and one HTML page that needs nothing else."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from keydistill.distillation.evaluation import plots
from keydistill.distillation.evaluation.bootstrap import CONFIDENCE, Difference, Estimate
from keydistill.distillation.evaluation.corpus import HEAD_SHARE
from keydistill.distillation.evaluation.estimates import Comparison, compare
from keydistill.distillation.evaluation.measures import ABOUT, About
from keydistill.distillation.evaluation.result import Category, Evaluation
from keydistill.distillation.evaluation.support import (
    MIN_JUDGED_PAIRS,
    SMALL_JUDGED_SHARE,
    Support,
    Supports,
    leading_measures,
)
from keydistill.errors import InputError
from keydistill.files import FolderKind, whole_folder

PAGE, EVALUATION, AGAINST, COMPARISON = "index.html", "evaluation.json", "against.json", "comparison.json"
_REPORT = FolderKind("report", EVALUATION)
# Shown against the length of the list, and by dimension, where they were measured.
_CURVES = ("relevant", "new_relevant", "recall", "ndcg", "search_pass")
_VERDICTS = {
    "relevant": ("✓", "relevant"),
    "irrelevant": ("✗", "irrelevant"),
    "known": ("=", "already recommended"),
    "rejected": ("⊘", "rejected by search"),
    "unknown to search": ("?", "unknown to search"),
    "not judged": ("?", "not judged"),
}


def write_report(folder: Path, evaluation: Evaluation, against: Evaluation | None = None) -> Comparison | None:
    """Write `index.html`, `evaluation.json` and, with `against`, `against.json` and `comparison.json`.

    The folder appears complete or not at all; an older report there is replaced. Equal evaluations make equal bytes.

    Args:
        folder: Folder that is new, empty, or holds an older report.
        evaluation: Evaluation that the report is about.
        against: Evaluation of another student on the same items, which it is compared with.

    Returns:
        The comparison: `evaluation` less `against`.

    Raises:
        InputError: The folder holds something else, or the two evaluations cannot be compared.
    """
    check_report_folder(folder)
    comparison = None if against is None else compare(against, evaluation)
    page = render(evaluation, against, comparison)
    with whole_folder(folder, _REPORT, force=True) as draft:
        _write_json(draft / EVALUATION, evaluation.as_dict())
        if against is not None and comparison is not None:
            _write_json(draft / AGAINST, against.as_dict())
            _write_json(draft / COMPARISON, comparison.as_dict())
        (draft / PAGE).write_text(page, encoding="utf-8")
    return comparison


def check_report_folder(folder: Path) -> None:
    """Refuse a folder that no report may be written to; to be called before hours of work.

    Raises:
        InputError: The folder holds something else than an older report.
    """
    _REPORT.check_target(folder, force=True)


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation in an `evaluation.json`, or in the folder of a report.

    Raises:
        InputError: It is missing or something else.
    """
    file = path / EVALUATION if path.is_dir() else path
    try:
        return Evaluation.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}; name the folder of a report") from None
    except (ValueError, AttributeError):
        raise InputError(f"{file} is no evaluation; name the folder of a report") from None


def render(evaluation: Evaluation, against: Evaluation | None, comparison: Comparison | None) -> str:
    """The report as an HTML page."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        figure=_figure, interval=_interval, change=_change, rests_on=_rests_on, count=lambda number: f"{number:,}"
    )
    template = environment.from_string(files(__package__).joinpath("template.html").read_text(encoding="utf-8"))
    differences = {} if comparison is None else comparison.differences
    drawn, left_out = _plots(evaluation, against)
    return template.render(
        evaluation=evaluation,
        against=against,
        headline=[
            (
                title,
                about,
                estimate,
                evaluation.supports.get(name),
                against and against.estimates.get(name),
                differences.get(name),
            )
            for name, title, about, estimate in _headline(evaluation)
        ],
        table=_by_cutoff(evaluation),
        plots=[(title, Markup(svg)) for title, svg in drawn],
        left_out=left_out,
        few_judged=leading_measures(evaluation.estimates, evaluation.headline)[0] != next(iter(ABOUT)),
        small_judged_share=f"{SMALL_JUDGED_SHARE:.0%}",
        fewest_pairs=MIN_JUDGED_PAIRS,
        samples=_samples(evaluation, against),
        verdicts=_VERDICTS,
        confidence=f"{CONFIDENCE:.0%}",
        head_share=f"{HEAD_SHARE:.0%}",
    )


def _headline(evaluation: Evaluation) -> list[tuple[str, str, About, Estimate]]:
    lines = []
    for base in leading_measures(evaluation.estimates, evaluation.headline):
        about = ABOUT[base]
        for name in (base, f"{base}@{evaluation.headline}"):
            estimate = evaluation.estimates.get(name)
            if estimate is not None and estimate.value is not None:
                lines.append((name, name.replace(base, about.title, 1), about, estimate))
    return lines


def _by_cutoff(evaluation: Evaluation) -> list[tuple[About, list[tuple[Estimate | None, Support | None]]]]:
    """Each measure that has several cut-offs: its figure at each, and what that rests on."""
    rows = []
    for base in leading_measures(evaluation.estimates, evaluation.headline):
        about = ABOUT[base]
        names = [f"{base}@{k}" for k in evaluation.cutoffs]
        figures = [(evaluation.estimates.get(name), evaluation.supports.get(name)) for name in names]
        if sum(estimate is not None and estimate.value is not None for estimate, _ in figures) > 1:
            rows.append((about, figures))
    return rows


def _plots(evaluation: Evaluation, against: Evaluation | None) -> tuple[list[tuple[str, str]], list[str]]:
    """The plots with their titles, and what was not drawn because too few judged pairs are behind it."""
    both = [evaluation, *([] if against is None else [against])]
    at = f"@{evaluation.headline}"
    known = [
        name
        for name in leading_measures(evaluation.estimates, evaluation.headline)
        if name in _CURVES and (estimate := evaluation.estimates.get(name + at)) and estimate.value is not None
    ]
    measured = [name for name in known if _is_enough(evaluation.supports, name + at)]
    left_out = [
        f"{ABOUT[name].title}{at} rests on {evaluation.supports[name + at].pairs:,} judged pairs"
        for name in known
        if name not in measured
    ]
    drawn = []
    if len(evaluation.cutoffs) > 1:
        drawn += [(f"{ABOUT[name].title} by list length", plots.by_cutoff(name, both)) for name in measured]
    if evaluation.histogram is not None:
        drawn.append((f"Scores of {evaluation.histogram.of}", plots.score_distribution(evaluation)))
    # The measure that leads, and one beside it.
    shares = [name + at for name in measured if name in ("relevant", "recall", "ndcg")][:2]
    if len(evaluation.dimensions) > 1 and shares:
        drawn.append(("Quality by Matryoshka dimension", plots.by_dimension(shares, evaluation)))
    if len(evaluation.categories) > 1:
        # The first measure with a category that has enough behind it. Last, because it is the tallest.
        for name in measured:
            categories = [each for each in evaluation.categories if _is_enough(each.supports, name + at)]
            if categories:
                title = f"{ABOUT[name].title}{at} by category (judged pairs / keyphrases)"
                drawn.append((title, plots.by_category(name + at, both, categories[: plots.CATEGORIES])))
                left_out += _categories_left_out(evaluation, categories)
                break
        else:
            left_out.append(f"none of {len(evaluation.categories):,} categories has enough judged pairs")
    return drawn, left_out


def _categories_left_out(evaluation: Evaluation, categories: list[Category]) -> list[str]:
    few, many = len(evaluation.categories) - len(categories), len(categories) - plots.CATEGORIES
    return [
        *([f"{few:,} of {len(evaluation.categories):,} categories have too few judged pairs"] if few else []),
        *([f"{many:,} smaller categories have enough, but no place in the chart"] if many > 0 else []),
    ]


def _is_enough(supports: Supports, name: str) -> bool:
    return name in supports and supports[name].is_enough


def _rests_on(support: Support | None) -> str:
    """The judged pairs behind a figure, as text; empty for figures that rest on none."""
    if support is None:
        return ""
    return f"{support.pairs:,} pairs, {support.keyphrases:,} keyphrases, {support.items:,} items"


def _samples(evaluation: Evaluation, against: Evaluation | None) -> list[dict[str, Any]]:
    other_samples = {sample.item_id: sample for sample in (against.samples if against is not None else ())}
    return [
        {
            "item": sample,
            "lists": [(evaluation.student, sample.lines)]
            + (
                [(against.student, other_samples[sample.item_id].lines)]
                if against and sample.item_id in other_samples
                else []
            ),
        }
        for sample in evaluation.samples
    ]


def _figure(estimate: Estimate | None, about: About) -> str:
    return "-" if estimate is None or estimate.value is None else _number(estimate.value, about)


def _interval(estimate: Estimate | None, about: About) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return ""
    return f"{_number(estimate.low, about)} to {_number(estimate.high, about)}"


def _change(difference: Difference | None, about: About) -> dict[str, str]:
    """The difference as text, and whether it is for the better; unclear where the interval holds zero."""
    if difference is None or difference.difference is None:
        return {"text": "-", "interval": "", "verdict": "", "below": ""}
    low, high = difference.low, difference.high
    verdict = ""
    if about.better_when_more and low is not None and high is not None:
        verdict = "unclear" if low <= 0 <= high else "better" if low > 0 else "worse"
    return {
        "text": _gap(difference.difference, about),
        "interval": "" if low is None or high is None else f"{_gap(low, about)} to {_gap(high, about)}",
        "verdict": verdict,
        "below": "" if difference.below_zero is None else f"{difference.below_zero:.1%}",
    }


def _number(value: float, about: About) -> str:
    return f"{value:.1%}" if about.share else f"{value:.2f}"


def _gap(value: float, about: About) -> str:
    """A difference as text; of shares in percentage points."""
    return f"{100 * value:+.1f}" if about.share else f"{value:+.2f}"


def _write_json(path: Path, content: object) -> None:
    # Compact: most of it are figures per item, for programs.
    path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
