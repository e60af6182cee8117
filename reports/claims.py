"""The claims page: what the paper says, what was measured, and whether it holds. Filled from artefacts alone.

The only numbers written here are the paper's own, and the tolerances that decide a verdict. What an interval decides is
in `reports.verdicts`; each claim says which of its numbers must be on which side.
"""

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from baselines.comparison import CORRELATION, INSPECTED, SHARE
from baselines.metrics import Interval, mean_interval
from baselines.studies.edit_accuracy import NO_EDIT, RETRAINED
from reports.curves import describe
from reports.experiment import Measured
from reports.intervals import DIFFERENCE, bracket, summarise, triple
from reports.labels import label_of, with_how
from reports.load import starred
from reports.machines import named, several
from reports.markdown import render
from reports.trained import accuracies
from reports.verdicts import DOES_NOT_HOLD, HOLDS, UNDECIDED, decide, either, every, of_several

EDIT_TOLERANCE = 0.02
"""An edited accuracy this near to the retrained one counts as near: the paper's own margin for the top 10 %."""

LEAST_ACCURACY = 0.9 * 0.95
"""Nine tenths of the accuracy that the paper's network has, on CIFAR-10, after retraining."""

UNTESTED = "not tested at this accuracy"
"""The verdict on a workload beside those of `reports.verdicts`."""

CHANGE = (-2.0, 2.0)
"""Limits of the difference of two correlations."""

FOUND = 0.9
TENTH = 0.1
PAPER_METHODS = ("sam-gif", "sam-hif", "sam-hif-fast")


@dataclass(frozen=True)
class Finding:
    """What was measured about a claim.

    Attributes:
        numbers: By workload and what else a row of numbers is of (in words, or empty): the numbers by their headings.
        verdicts: By workload and label of a method, empty where it is about all of them, whether the claim holds there.
    """

    numbers: Mapping[tuple[str, str], Mapping[str, str]]
    verdicts: Mapping[tuple[str, str], str]

    @property
    def ours(self) -> str:
        """The numbers, a line each."""
        return render("finding", numbers=self.numbers)

    def on(self, workloads: Collection[str]) -> "Finding":
        """What was found on some workloads alone."""
        return replace(self, verdicts={key: word for key, word in self.verdicts.items() if key[0] in workloads})

    @property
    def verdict(self) -> str:
        """In words: one where it is the same everywhere, else each with where it was found."""
        if len(found := set(self.verdicts.values())) == 1:
            return found.pop()
        where: dict[str, list[str]] = {word: [] for word in (HOLDS, UNDECIDED, DOES_NOT_HOLD)}
        for (name, label), word in self.verdicts.items():
            where[word].append(f"{name} by {label}" if label else name)
        said = "; ".join(f"{word} on {', '.join(names)}" for word, names in where.items() if names)
        return said or UNDECIDED


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
        return of_several(finding.on([workload]).verdicts.values())

    def verdict(self, finding: Finding, accuracy: Mapping[str, float], seeds: Mapping[str, int]) -> str:
        """What was found, in words, with the networks that are far from the paper's accuracy.

        Args:
            finding: What was measured.
            accuracy: Of the networks, by workload.
            seeds: Over how many seeds, by workload.
        """
        far = {name: value for name, value in accuracy.items() if value < LEAST_ACCURACY}
        named = ", ".join(f"{name} {value:.2f}" for name, value in far.items())
        if not (far and self.of_accuracy):
            said = finding.verdict + alone(finding, seeds)
            return said + (f"; networks far from the paper's accuracy: {named}" if far else "")
        tested = finding.on([name for name, _ in finding.verdicts if name not in far])
        untested = f"{UNTESTED}: {named}"
        return f"{untested}; on the others: {tested.verdict}{alone(tested, seeds)}" if tested.verdicts else untested


def alone(finding: Finding, seeds: Mapping[str, int]) -> str:
    """What is said beside a verdict where workloads have a single seed.

    >>> found = Finding({}, {("a", ""): HOLDS, ("b", ""): UNDECIDED})
    >>> alone(found, {"a": 3, "b": 3}), alone(found, {"a": 1, "b": 1}), alone(found, {"a": 3, "b": 1})
    ('', ', of a single seed there is no interval', ', of a single seed (b) there is no interval')
    """
    tested = dict.fromkeys(workload for workload, _ in finding.verdicts)
    single = [workload for workload in tested if seeds[workload] == 1]
    which = "" if len(single) == len(tested) else f" ({', '.join(single)})"
    return f", of a single seed{which} there is no interval" if single else ""


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
        machines = dict.fromkeys(named(environment) for environment in self.part.environments)
        return {
            "Claim": self.says,
            "Paper": self.paper,
            "Ours": self.finding.ours,
            "Verdict": self.verdict,
            "Figure": f"[{name}]({name}.png)",
            "Size that was run": describe(self.part.frame),
            "Hardware": "; ".join(machines),
            "Minutes": starred(f"{self.part.seconds / 60:.1f}", self.part.disturbed),
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
        if not any(finding.numbers.values()):
            continue  # none of the claim's methods was measured yet
        accuracy = accuracies(part.frame)
        workloads = dict.fromkeys(workload for workload, _ in finding.verdicts)
        words = {workload: claim.word(finding, workload, accuracy) for workload in workloads}
        said = claim.verdict(finding, accuracy, part.frame.groupby("workload")["seed"].nunique().to_dict())
        found.append(Tested(claim.says, claim.paper, part, finding, said, words))
    if values is not None and "editing" in parts and NO_EDIT in set(parts["editing"].frame.get("method", ())):
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
    names = [RETRAINED, NO_EDIT, "sam-gif", "sam-hif", "sam-hif-fast", "sam-if", "if", "tracin"]
    tenth = frame[(frame["kind"] == "random") & np.isclose(frame["fraction"], TENTH) & frame["method"].isin(names)]
    ours: dict[tuple[str, str], dict[str, str]] = {}
    verdicts: dict[tuple[str, str], str] = {}
    for workload, part in tenth.groupby("workload", sort=False):
        means = summarise(part, ["method"], ["accuracy"]).set_index("method")
        there = [name for name in names if name in means.index]
        ours[str(workload), ""] = {label_of(n): bracket(means.loc[n, triple("accuracy")]) for n in there}
        own = frame[frame["workload"] == workload]
        verdicts[str(workload), ""] = every(_matches(own, name) for name in PAPER_METHODS)
    return Finding(ours, verdicts)


def _matches(part: pd.DataFrame, name: str) -> str:
    """Whether edits end within the tolerance of retraining after a random tenth, and beat no edit over all groups."""
    tenth = part[(part["kind"] == "random") & np.isclose(part["fraction"], TENTH) & (part["method"] == name)]
    near = _near(mean_interval(tenth.groupby("seed")["difference"].mean(), DIFFERENCE))
    errors = part.assign(error=part["difference"].abs()).pivot_table("error", "seed", "method")
    nearer = mean_interval(errors.get(NO_EDIT, np.nan) - errors.get(name, np.nan), DIFFERENCE)
    return every([near, decide(nearer, above=0)])


def _near(difference: Interval) -> str:
    """Whether an edited accuracy is within the tolerance of the retrained one."""
    return decide(difference, -EDIT_TOLERANCE, EDIT_TOLERANCE)


def _runtime(frame: pd.DataFrame) -> Finding:
    order = (RETRAINED, "sam-hif", "sam-hif-fast", "sam-gif")
    ours: dict[tuple[str, str], dict[str, str]] = {}
    verdicts: dict[tuple[str, str], str] = {}
    for workload, part in frame.groupby("workload", sort=False):
        means = summarise(part, ["method"], ["seconds"]).set_index("method")
        ours[str(workload), ""] = {
            label_of(n): starred(f"{bracket(means.loc[n, triple('seconds')], 2)} s", means.loc[n, "disturbed"])
            for n in order
            if n in means.index
        }
        ordered = part[part["method"].isin(order)].groupby("seed").filter(lambda rows: not several(rows))
        seconds = ordered.pivot_table("seconds", "seed", "method").reindex(columns=order)
        falls = [mean_interval(seconds[before] - seconds[after]) for before, after in itertools.pairwise(order)]
        verdicts[str(workload), ""] = every(decide(fall, above=0) for fall in falls)
    return Finding(ours, verdicts)


def _checkpoints(frame: pd.DataFrame) -> Finding:
    ours: dict[tuple[str, str], dict[str, str]] = {}
    verdicts: dict[tuple[str, str], str] = {}
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
        more = mean_interval(accuracy[10] - accuracy[3], DIFFERENCE)
        most = mean_interval(accuracy[max(accuracy.columns)] - accuracy[10], DIFFERENCE)
        verdicts[str(workload), ""] = every([decide(more, above=0), decide(most, above=-EDIT_TOLERANCE)])
    return Finding(ours, verdicts)


def _noise(frame: pd.DataFrame) -> Finding:
    at = frame[np.isclose(frame["rate"], TENTH) & np.isclose(frame["inspected"], INSPECTED)]
    names = ("loo", *PAPER_METHODS, "sam-if", "if", "tracin", "random")
    ours: dict[tuple[str, str], dict[str, str]] = {}
    verdicts: dict[tuple[str, str], str] = {}
    for workload, part in at.groupby("workload", sort=False):
        means = summarise(part, ["method"], ["found"]).set_index("method")
        there = [name for name in names if name in means.index]
        ours[str(workload), ""] = {label_of(n): bracket(means.loc[n, triple("found")], 2) for n in there}
        for n in PAPER_METHODS:
            verdicts[str(workload), label_of(n)] = decide(means.loc[n, triple("found")], above=FOUND)
    return Finding(ours, verdicts)


_TOP = (*PAPER_METHODS, "sam-if", "if", "tracin")


def _top(frame: pd.DataFrame) -> Finding:
    ours: dict[tuple[str, str], dict[str, str]] = {}
    verdicts: dict[tuple[str, str], str] = {}
    for workload, part in frame.groupby("workload", sort=False):
        means = summarise(part, ["method"], ["retrained_drop", "difference"]).set_index("method")
        for n in _TOP:
            drop = f"{means.loc[n, 'retrained_drop']:.3f}"
            ours[str(workload), label_of(n)] = {
                "drop": drop,
                "edited − retrained": bracket(means.loc[n, triple("difference")]),
            }
        for name in PAPER_METHODS:
            verdicts[str(workload), label_of(name)] = _near(means.loc[name, triple("difference")])
    return Finding(ours, verdicts)


def _sgd(frame: pd.DataFrame) -> Finding:
    ours: dict[tuple[str, str], dict[str, str]] = {}
    verdicts: dict[tuple[str, str], str] = {}
    for (workload, name), part in frame[frame["method"].isin(PAPER_METHODS)].groupby(
        ["workload", "method"], sort=False
    ):
        wide = part.pivot(index="seed", columns="optimiser", values="spearman")
        change = mean_interval(wide["SGD"] - wide["SAM"], CHANGE)
        ours[str(workload), label_of(name)] = {
            "Spearman with SAM": f"{wide['SAM'].mean():.3f}",
            "with SGD": f"{wide['SGD'].mean():.3f}",
            "change": bracket(change),
        }
        verdicts[str(workload), label_of(name)] = decide(change, below=0)
    return Finding(ours, verdicts)


def _sampling(frame: pd.DataFrame) -> Finding:
    ours: dict[tuple[str, str], dict[str, str]] = {}
    verdicts: dict[tuple[str, str], str] = {}
    last = frame["bin"].max()
    for workload, part in frame[frame["method"] == "sam-gif"].groupby("workload", sort=False):
        rank, error = (part.pivot(index="seed", columns="bin", values=name) for name in ("spearman", "error"))
        gain, excess = mean_interval(rank[last] - rank[1], CHANGE), mean_interval(error[1] - error[last])
        for name, values, difference in (("Spearman", rank, gain), ("error", error, excess)):
            ours[str(workload), name] = {
                "rarest fifth": f"{values[1].mean():.2f}",
                "commonest": f"{values[last].mean():.2f}",
                "difference": bracket(difference, 2),
            }
        verdicts[str(workload), ""] = either([decide(gain, above=0), decide(excess, above=0)])
    return Finding(ours, verdicts)


def _underestimates(frame: pd.DataFrame) -> Finding:
    ours: dict[tuple[str, str], dict[str, str]] = {}
    verdicts: dict[tuple[str, str], str] = {}
    for workload, part in frame[frame["rho"] > 0].groupby("workload", sort=False):
        slopes = summarise(part, ["method", "rho"], ["slope", "rho_over_grad_norm"]).set_index(["method", "rho"])
        rho = part["rho"].max()
        ratio = slopes.loc[("sam-hif", rho), "rho_over_grad_norm"]
        ours[str(workload), f"slope of truth on score, ρ = {rho:g} (ρ/‖g‖ = {ratio:.3g})"] = {
            label_of(name): bracket(slopes.loc[(name, rho), triple("slope")], 2)
            for name in ("sam-hif", "sam-hif-implicit", "sam-if")
        }
        verdicts[str(workload), ""] = decide(slopes.loc[("sam-hif", rho), triple("slope")], above=1)
    return Finding(ours, verdicts)


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
        if len(rank) and n in error.index:
            cells[name, label_of(n)] = {
                "Spearman": bracket(mean_interval(rank.to_numpy(), CORRELATION), 2),
                "edited − retrained accuracy": bracket(error.loc[n, triple("difference")]),
            }
    far = accuracies(editing.frame).get(name, 1.0) < LEAST_ACCURACY
    word = {HOLDS: DOES_NOT_HOLD, DOES_NOT_HOLD: HOLDS}.get(_near(error.loc[NO_EDIT, triple("difference")]), UNDECIDED)
    single = alone(Finding({}, {(name, ""): word}), {name: frame["seed"].nunique()})
    says = {
        HOLDS: ": accuracy tells edits from none",
        DOES_NOT_HOLD: ": accuracy cannot tell a right edit from none where random points are removed",
        UNDECIDED: single,
    }
    return Tested(
        "Accuracy after editing measures the quality of an attribution",
        "its main metric",
        editing,
        Finding(cells, {}),
        f"{UNTESTED}: {name}" if far else f"{word}{says[word]}",
        {name: UNTESTED if far else word},
    )


def _full_size(frame: pd.DataFrame) -> Finding:
    frame = frame.assign(minutes=frame["seconds"] / 60, gib=frame["process_bytes"] / 2**30)
    ours: dict[tuple[str, str], dict[str, str]] = {}
    verdicts: dict[tuple[str, str], str] = {}
    for workload, part in frame.groupby("workload", sort=False):
        means = summarise(part, ["method"], ["minutes", "gib", "found"]).set_index("method")
        for n in (name for name in PAPER_METHODS if name in means.index):
            ours[str(workload), label_of(n)] = {
                "minutes": starred(f"{means.loc[n, 'minutes']:.1f}", means.loc[n, "disturbed"]),
                "GiB": f"{means.loc[n, 'gib']:.1f}",
                f"wrong labels in the lowest {INSPECTED:.0%}": f"{means.loc[n, 'found']:.0%}",
            }
            verdicts[str(workload), label_of(n)] = decide(means.loc[n, triple("found")], above=FOUND)
    return Finding(ours, verdicts)


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
