# SPDX-License-Identifier: GPL-3.0-or-later
"""Skips are not silent: pytest lists them with their reasons, tools/test collects those, and where MRMR_NO_SKIPS is set each is a failure."""
import os

import pytest

ELSEWHERE = "not on this system: "  # a reason that begins so stays a skip: what is tested has no meaning here


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("MRMR_NO_SKIPS"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if ELSEWHERE not in reason:
            report.outcome = "failed"
            report.longrepr = "MRMR_NO_SKIPS is set, and %s was skipped: %s" % (item.nodeid, reason)
