"""Charts of the report, as Vega-Lite that Altair writes; their rows are put in by the page, for what a reader chose."""

from typing import Any

import altair as alt

CHOSEN = "chosen"
"""The name of the selection that the page listens to."""

EMPTY = alt.InlineData(values=[])
WIDTH: Any = "container"


def standings() -> dict[str, Any]:
    """Dots with intervals, a row a method; rows have `label`, `mean`, `low`, `high`."""
    base = alt.Chart(EMPTY, width=WIDTH, height=alt.Step(18))
    y = alt.Y("label:N", sort=alt.EncodingSortField("mean", order="descending"), title=None)
    rule = base.mark_rule().encode(y=y, x=alt.X("low:Q", title=""), x2="high:Q")
    dot = base.mark_point(filled=True, size=60).encode(
        y=y, x="mean:Q", tooltip=["label:N", _number("mean"), _number("low"), _number("high")]
    )
    return _spec(rule + dot, "Methods by their mean, with 95 % intervals")


def pareto() -> dict[str, Any]:
    """Cost against fidelity, with the front; rows have `label`, `cost`, `mean`, `low`, `high`, `front`."""
    base = alt.Chart(EMPTY, width=WIDTH, height=320)
    x = alt.X("cost:Q", scale=alt.Scale(type="log"), title="cost (plain trainings)")
    y = alt.Y("mean:Q", title="Spearman with exact LOO")
    front = base.transform_filter("datum.front").mark_line(interpolate="step-after", strokeDash=[4, 3]).encode(x=x, y=y)
    rule = base.mark_rule().encode(x=x, y="low:Q", y2="high:Q")
    dot = base.mark_point(filled=True, size=70).encode(
        x=x,
        y=y,
        color=alt.condition("datum.front", alt.value("#d55e00"), alt.value("#7f7f7f")),
        tooltip=["label:N", _number("cost"), _number("mean"), _number("low"), _number("high")],
    )
    name = base.transform_filter("datum.front").mark_text(align="left", dx=6, dy=-6).encode(x=x, y=y, text="label:N")
    return _spec(front + rule + dot + name, "Cost in plain trainings against fidelity; the front in orange")


def effects() -> dict[str, Any]:
    """Predicted against exact effects on a query; rows have `point`, `given`, `wrong`, `score` and `exact`."""
    pick = alt.selection_point(name=CHOSEN, fields=["point"], on="click", nearest=False)
    chart = (
        alt.Chart(EMPTY, width=WIDTH, height=300)
        .mark_point(filled=True, size=45)
        .encode(
            x=alt.X("score:Q", title="predicted effect (nats)"),
            y=alt.Y("exact:Q", title="exact effect (nats)"),
            color=alt.condition("datum.wrong", alt.value("#d55e00"), alt.value("#0173b2")),
            opacity=alt.condition(pick, alt.value(1.0), alt.value(0.35)),
            tooltip=["point:Q", "given:N", _number("score", "+.3g"), _number("exact", "+.3g")],
        )
        .add_params(pick)
    )
    return _spec(chart, "Predicted against exact effects of training points on the chosen query")


def over_steps(field: str, title: str, log: bool, states: bool = True) -> dict[str, Any]:
    """A number over the steps of a run; rows have `step` and the field, and of states whether they were `kept`."""
    scale = alt.Scale(type="log") if log else alt.Scale(zero=False)
    base = alt.Chart(EMPTY, width=WIDTH, height=150)
    x, y = alt.X("step:Q"), alt.Y(f"{field}:Q", title=title, scale=scale)
    line = base.mark_line().encode(x=x, y=y, tooltip=["step:Q", _number(field)])
    if not states:
        return _spec(line, f"{title} over the steps")
    kept = base.transform_filter("datum.kept").mark_tick(thickness=1, color="#d55e00").encode(x=x, y=alt.value(148))
    return _spec(line + kept, f"{title} over the steps; kept states are ticked")


def influence() -> dict[str, Any]:
    """The running sum of the terms of single points; rows have `step`, `sum`, `label`."""
    chart = (
        alt.Chart(EMPTY, width=WIDTH, height=260)
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X("step:Q"),
            y=alt.Y("sum:Q", title="influence so far (nats)"),
            color=alt.Color("label:N", legend=alt.Legend(title=None, orient="bottom", columns=2, labelLimit=400)),
            tooltip=["label:N", "step:Q", _number("sum", "+.3g")],
        )
    )
    return _spec(chart, "Influence of single points on the mean validation loss, gathered step by step")


def _number(field: str, form: str = ".4g") -> alt.Tooltip:
    return alt.Tooltip(f"{field}:Q", format=form)


def _spec(chart: Any, description: str) -> dict[str, Any]:
    """The chart as a dictionary, with what a screen reader says of it."""
    spec: dict[str, Any] = chart.properties(description=description).to_dict()
    spec.pop("datasets", None)
    return spec
