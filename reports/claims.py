"""The claims page: what the paper says, what was measured, and whether it holds. Filled from artefacts alone.

The only numbers written here are the paper's own, and the tolerances that decide a verdict.
"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from baselines.comparison import CORRELATION, INSPECTED, SHARE
from baselines.metrics import mean_interval
from baselines.studies.edit_accuracy import NO_EDIT, RETRAINED
from reports.curves import describe
from reports.experiment import Measured
from reports.intervals import bracket, summarise, triple
from reports.labels import label_of, with_how
from reports.markdown import render
from reports.trained import accuracies

EDIT_TOLERANCE = 0.02
"""An edited accuracy this near to the retrained one counts as near: the paper's own margin for the top 10 %."""

LEAST_ACCURACY = 0.9 * 0.95
"""Nine tenths of the accuracy that the paper's network has, on CIFAR-10, after retraining."""

HOLDS, IN_PART, DOES_NOT_HOLD, UNTESTED = "holds", "holds in part", "does not hold", "not tested at this accuracy"
"""The verdicts on a workload."""

FOUND = 0.9
TENTH = 0.1
PAPER_METHODS = ("sam-gif", "sam-hif", "sam-hif-fast")


@dataclass(frozen=True)
class Finding:
    """What was measured about a claim.

    Attributes:
        numbers: By workload and what else a row of numbers is of (in words, or empty): the numbers by their headings.
        holds: By workload and label of a method, empty where it is about all of them, whether the claim holds there.
    """

    numbers: Mapping[tuple[str, str], Mapping[str, str]]
    holds: Mapping[tuple[str, str], bool]

    @property
    def ours(self) -> str:
        """The numbers, a line each."""
        return render("finding", numbers=self.numbers)

    def on(self, workloads: Collection[str]) -> "Finding":
        """What holds on some workloads alone."""
        return replace(self, holds={key: holds for key, holds in self.holds.items() if key[0] in workloads})

    @property
    def verdict(self) -> str:
        """In words."""
        yes = [f"{name} by {label}" if label else name for (name, label), holds in self.holds.items() if holds]
        if len(yes) == len(self.holds):
            return HOLDS
        return f"holds only on {', '.join(yes)}" if yes else DOES_NOT_HOLD


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes:
        says: What it says.
        paper: Its numbers.
        experiment: The experiment that tests it, whose figure shows it.
        find: That experiment's frame to what was measured.
        of_accuracy: Whether it is about the accuracy of networks: one that nobody would use decides nothing there.
    """

    says: str
    paper: str
    experiment: str
    find: Callable[[pd.DataFrame], Finding]
    of_accuracy: bool = False

    def word(self, finding: Finding, workload: str, accuracy: Mapping[str, float]) -> str:
        """The verdict on one workload."""
        if self.of_accuracy and accuracy.get(workload, 1.0) < LEAST_ACCURACY:
            return UNTESTED
        holds = list(finding.on([workload]).holds.values())
        return HOLDS if all(holds) else IN_PART if any(holds) else DOES_NOT_HOLD

    def verdict(self, finding: Finding, accuracy: Mapping[str, float]) -> str:
        """What was found, in words, with the networks that are far from the paper's accuracy.

        Args:
            finding: What was measured.
            accuracy: Of the networks, by workload.
        """
        far = {name: value for name, value in accuracy.items() if value < LEAST_ACCURACY}
        if not far:
            return finding.verdict
        named = ", ".join(f"{name} {value:.2f}" for name, value in far.items())
        if not self.of_accuracy:
            return f"{finding.verdict}, with networks far from the paper's accuracy: {named}"
        tested = finding.on([name for name, _ in finding.holds if name not in far])
        untested = f"{UNTESTED}: {named}"
        return f"{untested}; {tested.verdict} on the others" if tested.holds else untested


@dataclass(frozen=True)
class Tested:
    """A claim and what was found of it.

    Attributes:
        says: What it says.
        paper: The paper's numbers.
        part: The experiment that tested it.
        finding: What was measured.
        verdict: What that comes to, in words.
        verdicts: The same in a word for each workload.
    """

    says: str
    paper: str
    part: Measured
    finding: Finding
    verdict: str
    verdicts: Mapping[str, str]

    @property
    def row(self) -> dict[str, str]:
        """Its row in the table of claims."""
        name = self.part.experiment.name
        machines = dict.fromkeys(f"{e['gpu'] or e['cpu']}, {e['cores']} cores" for e in self.part.environments)
        return {
            "Claim": self.says,
            "Paper": self.paper,
            "Ours": self.finding.ours,
            "Verdict": self.verdict,
            "Figure": f"[{name}]({name}.png)",
            "Size that was run": describe(self.part.frame),
            "Hardware": "; ".join(machines),
            "Minutes": f"{self.part.seconds / 60:.1f}",
            "Command": f"`{self.part.command}`",
        }


def tested(measured: Sequence[Measured], values: pd.DataFrame | None) -> list[Tested]:
    """The claims whose experiments were measured.

    Args:
        measured: The experiments.
        values: What every validation found, as `Results.tidy` has it; None where there is none.
    """
    parts = {part.experiment.name: part for part in measured}
    found = []
    for claim in CLAIMS:
        part = parts.get(claim.experiment)
        if part is None or part.frame.empty:
            continue
        frame = with_how(part.frame)
        finding = claim.find(frame[frame["how"] == ""])  # the paper's methods are used in their own way
        accuracy = accuracies(part.frame)
        words = {name: claim.word(finding, name, accuracy) for name in dict.fromkeys(w for w, _ in finding.holds)}
        found.append(Tested(claim.says, claim.paper, part, finding, claim.verdict(finding, accuracy), words))
    if values is not None and "editing" in parts and len(parts["editing"].frame):
        found.append(_disagreement(values, parts["editing"]))
    return found


def compute(measured: Sequence[Measured], values: pd.DataFrame | None) -> pd.DataFrame:
    """One row a claim whose experiment was measured."""
    return pd.DataFrame([claim.row for claim in tested(measured, values)])


def updated(earlier: pd.DataFrame, later: pd.DataFrame) -> pd.DataFrame:
    """The claims of a page, each as it was found last, in their order."""
    places = {claim.says: place for place, claim in enumerate(CLAIMS)}
    both = pd.concat([later, earlier]).drop_duplicates("Claim")
    return both.sort_values("Claim", key=lambda says: says.map(places).fillna(len(places)), ignore_index=True)


def _editing(frame: pd.DataFrame) -> Finding:
    tenth = frame[(frame["kind"] == "random") & np.isclose(frame["fraction"], TENTH)]
    ours: dict[tuple[str, str], dict[str, str]] = {}
    holds: dict[tuple[str, str], bool] = {}
    for workload, part in tenth.groupby("workload", sort=False):
        names = [RETRAINED, NO_EDIT, "sam-gif", "sam-hif", "sam-hif-fast", "sam-if", "if", "tracin"]
        means = summarise(part[part["method"].isin(names)], ["method"], ["accuracy"]).set_index("method")
        there = [name for name in names if name in means.index]
        ours[str(workload), ""] = {label_of(n): bracket(means.loc[n, triple("accuracy")]) for n in there}
        holds[str(workload), ""] = all(_matches(frame[frame["workload"] == workload], name) for name in PAPER_METHODS)
    return Finding(ours, holds)


def _matches(part: pd.DataFrame, name: str) -> bool:
    """Whether edits end within the tolerance of retraining after a random tenth, and beat no edit over all groups."""
    tenth = part[(part["kind"] == "random") & np.isclose(part["fraction"], TENTH) & (part["method"] == name)]
    _, low, high = mean_interval(tenth["difference"].to_numpy())
    error = part.assign(error=part["difference"].abs()).groupby("method")["error"].mean()
    return bool(low >= -EDIT_TOLERANCE and high <= EDIT_TOLERANCE and error.get(name, np.inf) < error[NO_EDIT])


def _runtime(frame: pd.DataFrame) -> Finding:
    order = (RETRAINED, "sam-hif", "sam-hif-fast", "sam-gif")
    ours: dict[tuple[str, str], dict[str, str]] = {}
    holds: dict[tuple[str, str], bool] = {}
    for workload, part in frame.groupby("workload", sort=False):
        means = summarise(part, ["method"], ["seconds"]).set_index("method")
        ours[str(workload), ""] = {label_of(n): f"{bracket(means.loc[n, triple('seconds')], 2)} s" for n in order}
        seconds = [means.loc[name, "seconds"] for name in order]
        holds[str(workload), ""] = all(before > after for before, after in itertools.pairwise(seconds))
    return Finding(ours, holds)


def _checkpoints(frame: pd.DataFrame) -> Finding:
    ours: dict[tuple[str, str], dict[str, str]] = {}
    holds: dict[tuple[str, str], bool] = {}
    gif = frame[frame["method"] == "sam-gif"]
    for workload, part in gif.groupby("workload", sort=False):
        accuracy = part.pivot(index="seed", columns="checkpoints", values="accuracy")
        rank = part.pivot(index="seed", columns="checkpoints", values="spearman")
        shown = [c for c in (3, 5, 10, max(accuracy.columns)) if c in accuracy.columns]
        unedited = part.groupby("seed")["unedited"].first()
        cells = {"no edit": bracket(mean_interval(unedited, SHARE))}
        for c in shown:
            cells[f"C = {c}: accuracy"] = bracket(mean_interval(accuracy[c], SHARE))
            cells[f"C = {c}: Spearman"] = bracket(mean_interval(rank[c], CORRELATION), 2)
        ours[str(workload), ""] = cells
        _, low, _ = mean_interval(accuracy[10] - accuracy[3])
        _, flat, _ = mean_interval(accuracy[max(accuracy.columns)] - accuracy[10])
        holds[str(workload), ""] = bool(low > 0 and flat > -EDIT_TOLERANCE)
    return Finding(ours, holds)


def _noise(frame: pd.DataFrame) -> Finding:
    at = frame[np.isclose(frame["rate"], TENTH) & np.isclose(frame["inspected"], INSPECTED)]
    names = ("loo", *PAPER_METHODS, "sam-if", "if", "tracin", "random")
    ours: dict[tuple[str, str], dict[str, str]] = {}
    holds: dict[tuple[str, str], bool] = {}
    for workload, part in at.groupby("workload", sort=False):
        means = summarise(part, ["method"], ["found"]).set_index("method")
        there = [name for name in names if name in means.index]
        ours[str(workload), ""] = {label_of(n): bracket(means.loc[n, triple("found")], 2) for n in there}
        holds |= {(str(workload), label_of(n)): bool(means.loc[n, "found"] > FOUND) for n in PAPER_METHODS}
    return Finding(ours, holds)


def _top(frame: pd.DataFrame) -> Finding:
    names = (*PAPER_METHODS, "sam-if", "if", "tracin")
    ours: dict[tuple[str, str], dict[str, str]] = {}
    holds: dict[tuple[str, str], bool] = {}
    for workload, part in frame.groupby("workload", sort=False):
        means = summarise(part, ["method"], ["retrained_drop", "difference"]).set_index("method")
        for n in names:
            drop = f"{means.loc[n, 'retrained_drop']:.3f}"
            ours[str(workload), label_of(n)] = {
                "drop": drop,
                "edited − retrained": bracket(means.loc[n, triple("difference")]),
            }
        for name in PAPER_METHODS:
            _, low, high = means.loc[name, triple("difference")]
            holds[str(workload), label_of(name)] = bool(low >= -EDIT_TOLERANCE and high <= EDIT_TOLERANCE)
    return Finding(ours, holds)


def _sgd(frame: pd.DataFrame) -> Finding:
    ours: dict[tuple[str, str], dict[str, str]] = {}
    holds: dict[tuple[str, str], bool] = {}
    for (workload, name), part in frame[frame["method"].isin(PAPER_METHODS)].groupby(
        ["workload", "method"], sort=False
    ):
        wide = part.pivot(index="seed", columns="optimiser", values="spearman")
        change = mean_interval(wide["SGD"] - wide["SAM"])
        ours[str(workload), label_of(name)] = {
            "Spearman with SAM": f"{wide['SAM'].mean():.3f}",
            "with SGD": f"{wide['SGD'].mean():.3f}",
            "change": bracket(change),
        }
        holds[str(workload), label_of(name)] = bool(change[2] < 0)
    return Finding(ours, holds)


def _sampling(frame: pd.DataFrame) -> Finding:
    ours: dict[tuple[str, str], dict[str, str]] = {}
    holds: dict[tuple[str, str], bool] = {}
    last = frame["bin"].max()
    for workload, part in frame[frame["method"] == "sam-gif"].groupby("workload", sort=False):
        rank, error = (part.pivot(index="seed", columns="bin", values=name) for name in ("spearman", "error"))
        gain, excess = mean_interval(rank[last] - rank[1]), mean_interval(error[1] - error[last])
        for name, values, difference in (("Spearman", rank, gain), ("error", error, excess)):
            ours[str(workload), name] = {
                "rarest fifth": f"{values[1].mean():.2f}",
                "commonest": f"{values[last].mean():.2f}",
                "difference": bracket(difference, 2),
            }
        holds[str(workload), ""] = bool(gain[1] > 0 or excess[1] > 0)
    return Finding(ours, holds)


def _underestimates(frame: pd.DataFrame) -> Finding:
    ours: dict[tuple[str, str], dict[str, str]] = {}
    holds: dict[tuple[str, str], bool] = {}
    for workload, part in frame[frame["rho"] > 0].groupby("workload", sort=False):
        slopes = summarise(part, ["method", "rho"], ["slope", "rho_over_grad_norm"]).set_index(["method", "rho"])
        rho = part["rho"].max()
        ratio = slopes.loc[("sam-hif", rho), "rho_over_grad_norm"]
        ours[str(workload), f"slope of truth on score, ρ = {rho:g} (ρ/‖g‖ = {ratio:.3g})"] = {
            label_of(name): bracket(slopes.loc[(name, rho), triple("slope")], 2)
            for name in ("sam-hif", "sam-hif-implicit", "sam-if")
        }
        holds[str(workload), ""] = bool(slopes.loc[("sam-hif", rho), "slope_low"] > 1)
    return Finding(ours, holds)


def _disagreement(values: pd.DataFrame, editing: Measured) -> Tested:
    """Accuracy after editing beside ranks: both measures of the same methods, in one row."""
    name = editing.frame["workload"].iloc[0]
    frame = editing.frame[editing.frame["workload"] == name]
    ranks = values[(values["workload"] == name) & (values["metric"] == "spearman_per_query")]
    tenth = frame[(frame["kind"] == "random") & np.isclose(frame["fraction"], TENTH)]
    error = summarise(tenth, ["method"], ["difference"]).set_index("method")
    cells = {(name, "a random tenth removed"): {"no edit": bracket(error.loc[NO_EDIT, triple("difference")])}}
    for n in PAPER_METHODS:
        rank = ranks.loc[ranks["method"] == n, "value"]
        if len(rank):
            cells[name, label_of(n)] = {
                "Spearman": bracket(mean_interval(rank.to_numpy(), CORRELATION), 2),
                "edited − retrained accuracy": bracket(error.loc[n, triple("difference")]),
            }
    far = accuracies(editing.frame).get(name, 1.0) < LEAST_ACCURACY
    nearly = abs(error.loc[NO_EDIT, "difference"]) <= EDIT_TOLERANCE
    says = "accuracy cannot tell a right edit from none" if nearly else "accuracy tells edits from none"
    verdict = f"does not hold: {says} where random points are removed" if nearly else f"holds: {says}"
    word = UNTESTED if far else DOES_NOT_HOLD if nearly else HOLDS
    return Tested(
        "Accuracy after editing measures the quality of an attribution",
        "its main metric",
        editing,
        Finding(cells, {}),
        f"{UNTESTED}: {name}" if far else verdict,
        {name: word},
    )


def _full_size(frame: pd.DataFrame) -> Finding:
    frame = frame.assign(minutes=frame["seconds"] / 60, gib=frame["process_bytes"] / 2**30)
    ours: dict[tuple[str, str], dict[str, str]] = {}
    holds: dict[tuple[str, str], bool] = {}
    for workload, part in frame.groupby("workload", sort=False):
        means = summarise(part, ["method"], ["minutes", "gib", "found"]).set_index("method")
        for n in (name for name in PAPER_METHODS if name in means.index):
            ours[str(workload), label_of(n)] = {
                "minutes": f"{means.loc[n, 'minutes']:.1f}",
                "GiB": f"{means.loc[n, 'gib']:.1f}",
                f"wrong labels in the lowest {INSPECTED:.0%}": f"{means.loc[n, 'found']:.0%}",
            }
            holds[str(workload), label_of(n)] = bool(means.loc[n, "found"] > FOUND)
    return Finding(ours, holds)


CLAIMS = (
    Claim(
        "An edit replaces retraining: accuracy after editing is that of retraining",
        "retrain 0.9500, SAM-GIF 0.9497, SAM-HIF 0.9443, fast SAM-HIF 0.9323",
        "editing",
        _editing,
        of_accuracy=True,
    ),
    Claim(
        "Runtime falls from retraining to SAM-HIF to fast SAM-HIF to SAM-GIF",
        "retrain 3516.74 s, SAM-HIF 41.50 s, fast 11.07 s, SAM-GIF 4.89 s",
        "editing",
        _runtime,
    ),
    Claim(
        "More checkpoints help SAM-GIF",
        "3, 5, 10: about 0.9497 from 10 on",
        "checkpoints",
        _checkpoints,
        of_accuracy=True,
    ),
    Claim(
        "Over 90 % of the wrong labels are in the 40 % of lowest score",
        "10 % wrong labels, over 90 % found",
        "noise-rates",
        _noise,
    ),
    Claim(
        "Removing the 10 % most valuable points, the edit's accuracy drop matches retraining",
        "within 0.02",
        "top-removal",
        _top,
        of_accuracy=True,
    ),
    Claim("The methods degrade when SAM was not used", "stated", "sam-against-sgd", _sgd),
    Claim("SAM-GIF is noisy for rarely sampled points", "stated", "sampling", _sampling),
    Claim("SAM-HIF underestimates when ∂ê/∂ω is misestimated", "stated", "sensitivity", _underestimates),
    Claim(
        "The methods scale: over 90 % of the wrong labels in the 40 % of lowest score, at full size",
        "CIFAR-10, CIFAR-100, mini-ImageNet, MNIST",
        "full-size",
        _full_size,
    ),
)
