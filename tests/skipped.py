"""In CI every test runs: one that is skipped for another reason than the lack of a GPU fails the run."""

import pytest

# Why a test may be skipped there, word for word. CI's machines have no GPU.
ALLOWED = frozenset(
    {"needs a GPU", "needs a GPU and FAISS built for it", "needs a GPU and FAISS built with cuVS"}
)


class Skipped:
    """Registered as a plugin where CI is set."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report.nodeid, report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._note(report.nodeid, report.longrepr)

    def _note(self, name: str, longrepr: object) -> None:
        said = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
        reason = said.removeprefix("Skipped: ")
        if reason not in ALLOWED:
            self._found.append(f"{name}: {reason}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._found and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for one in self._found:
            terminalreporter.line(f"in CI no test may be skipped: {one}", red=True)
