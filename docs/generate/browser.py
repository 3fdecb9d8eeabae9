"""Pictures of the dashboard's pages, by a Chromium and playwright, which the [dev] extra brings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.dashboard.browser import SETTLED, chromium, served

Prepare = Callable[[Any], None]
# Of a page's first line: a picture outlives the checkout whose commit its run names.
_LEAVE_OUT_THE_COMMIT = """() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    text.data = text.data.replace(/ · commit [0-9a-f]+\\+?(?= · )/, '');
  }
}"""


@contextmanager
def photographer(runs: Path) -> Iterator[Callable[[str, Path, int, Prepare | None], None]]:
    """Serve the dashboard over a folder; yields what takes a picture of a page.

    Its arguments: the page's path, where the picture goes, its height, and what to do on the page first.

    Raises:
        RuntimeError: there is no Chromium.
    """
    with served(runs) as dashboard, chromium() as browser:

        def take(path: str, to: Path, height: int, prepare: Prepare | None = None) -> None:
            page = browser.new_page(viewport={"width": 1280, "height": height})
            page.goto(f"{dashboard.address}/{path}")
            page.wait_for_selector(SETTLED, timeout=60_000)
            if prepare is not None:
                prepare(page)
                page.wait_for_selector(SETTLED, timeout=60_000)
            page.wait_for_timeout(2_000)  # charts draw after the script has ended
            page.evaluate(_LEAVE_OUT_THE_COMMIT)
            page.screenshot(path=to)
            page.close()

        yield take
