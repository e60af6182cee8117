"""What training made of a network, in words: what any number about its attribution is worth."""

import pandas as pd


def trained(frame: pd.DataFrame) -> dict[str, str]:
    """What training made of each workload's network, means over seeds; empty where results do not say it.

    Args:
        frame: Columns `workload`, `seed` and the fields of `baselines.quality.Quality` with `trained_` before them.
    """
    return {str(workload): _words(run) for workload, run in _means(frame).iterrows()}


def accuracies(frame: pd.DataFrame) -> dict[str, float]:
    """The validation accuracy of each workload's network, the mean over seeds; empty where results do not say it.

    Args:
        frame: As in `trained`.
    """
    return {str(workload): float(run["accuracy"]) for workload, run in _means(frame).iterrows()}


def _means(frame: pd.DataFrame) -> pd.DataFrame:
    if "trained_accuracy" not in frame:
        return pd.DataFrame()
    runs = frame.dropna(subset="trained_accuracy").drop_duplicates(["workload", "seed"]).set_index("workload")
    runs = runs[[name for name in runs if name.startswith("trained_")]].astype(float)
    return runs.rename(columns=lambda name: name.removeprefix("trained_")).groupby("workload", sort=False).mean()


def _words(run: pd.Series) -> str:
    """One network in words.

    >>> _words(pd.Series({"epochs": 6.0, "unseen": 0, "accuracy": 0.977, "training_accuracy": 0.9, "fitted": 0.012}))
    '6.0 epochs, accuracy 0.977 (training 0.900, 1.2 % of the wrong labels fitted)'
    """
    unseen = f", {100 * run['unseen']:.1f} % of the points never seen" if run["unseen"] > 0 else ""
    fitted = "" if pd.isna(run["fitted"]) else f", {100 * run['fitted']:.1f} % of the wrong labels fitted"
    accuracy = f"accuracy {run['accuracy']:.3f} (training {run['training_accuracy']:.3f}{fitted})"
    return f"{run['epochs']:.1f} epochs{unseen}, {accuracy}"
