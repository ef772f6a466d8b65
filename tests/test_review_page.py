"""The page of a review, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from browser import Browser, chromium
from reviews import reviewed
from underway.review import page

pytestmark = pytest.mark.needs_tool("chromium", "chromium")

OLD = {"shop": "LIMIT = 10\n\n\ndef say(text):\n    return text\n", "old_name": "def gone():\n    return 1\n"}
LONG = "a_name_that_is_longer_than_any_telephone_is_wide_" * 3
NEW = {"shop": OLD["shop"].replace("10", "20").replace("return text", f"{LONG} = text\n    return {LONG}")}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with definitions that change, come and go, and a line that is too long for any window."""
    place = tmp_path_factory.mktemp("page")
    file = place / "plan.html"
    file.write_text(page.text(reviewed(place, OLD, NEW)), encoding="utf-8")
    return file.as_uri()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_into_the_window(browser: Browser, url: str, width: int, dark: bool) -> None:
    """On a telephone and on a desk nothing is wider than the window, and source is side by side where there is room."""
    browser.open(url, width=width, dark=dark)

    assert browser.ask("document.documentElement.scrollWidth") == width
    wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth).length"
    assert browser.ask(wide) == 0
    places = "[...document.querySelector('.run.replace').children].map(e => Math.round(e.getBoundingClientRect().left))"
    old, new = browser.ask(places)
    assert (new > old) == (width == 1280)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_can_be_read_in_light_and_dark(browser: Browser, url: str, dark: bool) -> None:
    """The ground is as the reader likes it, and each text has the contrast of WCAG's AA, 4.5, to what is behind it."""
    browser.open(url, width=1280, dark=dark)

    ground = browser.ask("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(ground) < 200) == dark
    assert browser.ask(CONTRASTS) >= 4.5


CONTRASTS = """
(() => {
  const channels = color => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const color = channels(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color;
    }
  };
  const texts = [...document.querySelectorAll('body *')].filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
  return Math.min(...texts.map(e => {
    const [one, other] = [light(channels(getComputedStyle(e).color)), light(behind(e))].sort((a, b) => b - a);
    return (one + 0.05) / (other + 0.05);
  }));
})()
"""
