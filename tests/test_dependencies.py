"""What is installed has no known vulnerability that a newer version mends."""

import json
import subprocess
import sys

import pytest

AUDIT = [
    sys.executable,
    "-m",
    "pip_audit",
    "--local",
    "--progress-spinner",
    "off",
    "--format",
    "json",
    "--timeout",
    "10",
]


def findings(report):
    """Package, version, name of the vulnerability and the versions without it, of `pip-audit`'s JSON.

    Returns None where the database answered for no package at all.
    """
    asked = [package for package in report["dependencies"] if "vulns" in package]
    if not asked:
        return None
    return [
        f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions'])}"
        for package in asked
        for found in package["vulns"]
        if found["fix_versions"]
    ]


def test_a_planted_vulnerability_is_found():
    vulnerable = {"name": "old", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
    unmended = {"name": "new", "version": "3", "vulns": [{"id": "PYSEC-2", "fix_versions": []}]}
    unknown = {"name": "other", "skip_reason": "not found"}
    assert findings({"dependencies": [vulnerable, unmended, unknown]}) == ["old 1: PYSEC-1, mended in 2"]
    assert findings({"dependencies": [unmended]}) == []
    assert findings({"dependencies": [unknown]}) is None


@pytest.mark.slow
def test_no_dependency_has_a_known_vulnerability():
    try:
        said = subprocess.run(AUDIT, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        pytest.skip("the database of vulnerabilities does not answer within 5 minutes")
    found = findings(json.loads(said.stdout)) if said.stdout else None
    if found is None:
        why = "it has none of the packages" if said.stdout else said.stderr.splitlines()[-1]
        pytest.skip(f"the database of vulnerabilities cannot be reached: {why}")
    assert not found, "\n".join(found)
