"""A report in a real browser: turned over, read on a telephone, in the dark, and without its script."""

import importlib.util
import shutil

import pytest
from written_runs import written

from jaxgan.training.reporting.page import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CAN_LOOK = CHROMIUM and importlib.util.find_spec("playwright")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CAN_LOOK, reason="playwright or Chromium is not installed"),
    # Its server of events leaves an event loop of the interpreter's open.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as browsers:
        chromium = browsers.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def look(browser, tmp_path):
    """Opens the report of runs at a width; what the page complains of, or asks for, fails the test."""
    contexts, faults = [], []

    def open_page(*directories, width=1100, **how):
        (tmp_path / "report.html").write_text(page(directories), encoding="utf-8")
        context = browser.new_context(viewport={"width": width, "height": 800}, **how)
        contexts.append(context)
        opened = context.new_page()
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("console", lambda said: faults.append(said.text))
        opened.on("request", lambda asked: faults.append(asked.url) if asked.url.startswith("http") else None)
        opened.goto((tmp_path / "report.html").as_uri())
        return opened

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


def shown(opened):
    return [each.inner_text() for each in opened.query_selector_all(".frames figcaption") if each.is_visible()]


@pytest.fixture
def run(tmp_path):
    return written(tmp_path / "run", members=2, scores=[9, 5, 3])


def test_pictures_are_turned_over(look, run):
    opened = look(run)
    assert shown(opened) == ["step 30"]
    slider = opened.get_by_role("slider")
    slider.focus()
    opened.keyboard.press("ArrowLeft")
    assert shown(opened) == ["step 20"]
    opened.keyboard.press("Home")
    assert shown(opened) == ["step 0"]
    place = slider.bounding_box()
    opened.mouse.click(place["x"] + place["width"] * 0.68, place["y"] + place["height"] / 2)
    assert shown(opened) == ["step 20"]


def test_they_play_to_the_end_and_can_be_stopped(look, run):
    opened = look(run)
    opened.get_by_role("button", name="Play").click()
    opened.get_by_role("button", name="Play").wait_for(timeout=20_000)
    assert shown(opened) == ["step 30"]
    opened.get_by_role("button", name="Play").click()
    opened.get_by_role("button", name="Stop").click()
    opened.get_by_role("button", name="Play").wait_for()


def test_options_unfold(look, run):
    opened = look(run)
    assert not opened.get_by_text("--seed").is_visible()
    opened.get_by_text("Options", exact=True).click()
    assert opened.get_by_text("--seed").is_visible()


def test_without_a_script_all_pictures_are_there(look, run):
    opened = look(run, java_script_enabled=False)
    assert shown(opened) == ["step 0", "step 10", "step 20", "step 30"]
    assert not opened.get_by_role("slider").is_visible()


@pytest.mark.parametrize("width", [360, 1100])
def test_nothing_reaches_beyond_the_screen(width, look, run, tmp_path):
    for runs in ((run,), (run, written(tmp_path / f"{'a-rather-long-name' * 4}", scores=[4, 3]))):
        opened = look(*runs, width=width)
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        for chart in opened.query_selector_all("svg"):
            box = chart.bounding_box()
            assert 200 < box["width"] <= width


def luminance(colour):
    parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_by_day_and_night(scheme, look, run):
    """Contrasts of 4.5, as WCAG 2 asks for, against the page, or for the verdict against its box."""
    opened = look(run, color_scheme=scheme)
    colour = "element => getComputedStyle(element).color"
    paper = opened.eval_on_selector("body", "element => getComputedStyle(element).backgroundColor")
    assert (luminance(paper) > 0.5) == (scheme == "light")
    box = opened.eval_on_selector(".verdict", "element => getComputedStyle(element).backgroundColor")
    for selector, behind in [
        ("h1", paper),
        (".soft", paper),
        (".names .c0", paper),
        (".names b", paper),
        (".verdict strong", box),
    ]:
        one, other = sorted((luminance(opened.eval_on_selector(selector, colour)), luminance(behind)))
        assert (other + 0.05) / (one + 0.05) >= 4.5, selector
