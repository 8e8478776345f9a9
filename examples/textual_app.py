"""A Textual application whose interface stays alive while it fetches and computes.

needs: textual
usage: python textual_app.py [--show] (without --show it runs headless and ends)
"""

import sys
import time
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.widgets import Static

import offloop
from offloop.testing import MockRouter


def blocking_report() -> str:
    """Block for as long as a report takes."""
    time.sleep(0.2)
    return "the report"


class Viewer(App[str]):
    """Shows a name that is fetched and a report that blocks."""

    BINDINGS: ClassVar = [("q", "quit", "Quit")]

    def __init__(self, client: offloop.Client) -> None:
        super().__init__()
        self.client = client

    def compose(self) -> ComposeResult:
        """Show a line to be filled."""
        yield Static("…", id="line")

    async def on_mount(self) -> None:
        """Await Jobs as anything else; the interface goes on meanwhile."""
        name = (await self.client.get("https://users.example/7")).json()["name"]
        text = f"{name}: {await offloop.run(blocking_report)}"
        self.query_one("#line", Static).update(text)
        if self.is_headless:
            self.exit(text)


def main() -> None:
    """Run it, headless unless it is to be seen."""
    with MockRouter() as router:
        router.get("https://users.example/{n}").respond(json={"name": "Ada"})
        print(Viewer(router.client()).run(headless="--show" not in sys.argv))


if __name__ == "__main__":
    main()
