"""One training run of each workload."""

import os
import tempfile

from benchmarks.common import WORKLOADS
from samattr_ref import load_workload, train


class Training:
    params = WORKLOADS
    param_names = ["workload"]
    number = 1

    def setup(self, workload: str) -> None:
        self.workload = load_workload(workload)
        self.workload.splits  # noqa: B018 — loads the data outside of the time
        self.store = tempfile.TemporaryDirectory()
        self.before = os.environ.get("SAMATTR_STORE")
        os.environ["SAMATTR_STORE"] = self.store.name

    def teardown(self, workload: str) -> None:
        if self.before is None:
            del os.environ["SAMATTR_STORE"]
        else:
            os.environ["SAMATTR_STORE"] = self.before
        self.store.cleanup()

    def time_train(self, workload: str) -> None:
        train(self.workload)

    def peakmem_train(self, workload: str) -> None:
        train(self.workload)
