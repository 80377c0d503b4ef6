"""A page of ours that is open in a real browser, and everything that goes wrong on it.

Owns: how the browser is started, and what counts as a problem: a line on the console, an error, a violation
of the page's Content-Security-Policy. That policy forbids eval, on which `wait_for_function` rests: here
`expect` and `eventually` wait.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from e2e.server import eventually
from playwright.sync_api import ConsoleMessage, Locator, Page

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]

PLAYED_WITHIN_S = 15.0

PREPARE = """
window.violations = [];
window.sought = null;
addEventListener('securitypolicyviolation', (event) => {
  window.violations.push(event.violatedDirective + ' ' + event.blockedURI);
});
"""


@dataclass
class Visit:
    """A page that is open, and everything that went wrong on it."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.add_init_script(PREPARE)
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.type}: {message.text}")

    @property
    def problems(self) -> list[str]:
        violations: list[str] = self.page.evaluate("window.violations")
        return self.complaints + violations

    def get(self, test_id: str) -> Locator:
        return self.page.get_by_test_id(test_id)

    @property
    def position_s(self) -> float:
        position: float = self.get("audio").evaluate("audio => audio.currentTime")
        return position

    @property
    def paused(self) -> bool:
        paused: bool = self.get("audio").evaluate("audio => audio.paused")
        return paused

    def wait_until_played(self, until_s: float) -> None:
        eventually(
            lambda: (self.position_s >= until_s) or None,
            f"playing at {until_s:g} s ({self.problems})",
            within_s=PLAYED_WITHIN_S,
        )
