"""The page in a real browser, against a running server with a scripted model."""

import shutil
from pathlib import Path

import pytest

from fakes_model import QUOTE, TOWER, House, ScriptedModel, Shelf, assistant, broken
from fakes_server import in_background

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,800",
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = shutil.which("chromedriver")
    if not CHROMIUM.exists() or driver is None:
        pytest.skip(f"{CHROMIUM} or chromedriver is not installed (make test-browser installs them)")
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield browser
    browser.quit()


LONG = f"{'Much is said before. ' * 400}{TOWER}{' Much is said after.' * 400}"


def long_assistant(name="mainspring", kind="generated", **more):
    """An assistant whose citation lies deep in a long document."""
    import msgspec

    model = assistant(name, kind, **more)
    shift = LONG.index(TOWER)

    def moved(citation):
        return msgspec.structs.replace(
            citation, document="long file.md", start=citation.start + shift, end=citation.end + shift
        )

    model.answer = msgspec.structs.replace(
        model.answer,
        citations=tuple(moved(citation) for citation in model.answer.citations),
        confidence=0.723,
    )
    return model


@pytest.fixture
def house(tmp_path):
    shelf = Shelf(
        [
            long_assistant(step_s=0.05),
            assistant("weak", "extracted"),
            assistant("unsure", "abstained"),
            ScriptedModel("slow", "word " * 200, step_s=0.02),
            broken(),
            ScriptedModel("markup", "<img src=x onerror=alert(1)> <b>bold</b>"),
        ],
        [("long file.md", "A long file", LONG), ("guides/tower.md", "The tower", TOWER)],
    )
    house = House(tmp_path, shelf)
    yield house
    house.close()


class Page:
    def __init__(self, browser, url, *, is_open=True):
        from selenium.webdriver.support.ui import WebDriverWait

        self.browser = browser
        self.wait = WebDriverWait(browser, 10, poll_frequency=0.02)
        browser.get_log("browser")
        browser.get(url)
        if is_open:
            self.until(lambda: self.find("#model").is_enabled())

    def until(self, condition):
        return self.wait.until(lambda _: condition())

    def find(self, selector):
        return self.browser.find_element("css selector", selector)

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def choose(self, model):
        from selenium.webdriver.support.ui import Select

        Select(self.find("#model")).select_by_visible_text(model)

    def ask(self, text, *, to_end=True):
        self.find("#question").send_keys(text, "\ue007")  # Enter
        if to_end:
            self.until(lambda: self.all(".answer:last-child[aria-busy=false]"))

    def errors(self):
        return [entry for entry in self.browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


@pytest.fixture
def page(browser, house):
    with in_background(house.app) as url:
        yield Page(browser, url)
        browser.get("about:blank")


def test_a_user_asks_checks_the_source_and_corrects_the_answer(page, house):
    page.ask("When was the tower built?", to_end=False)
    seen = set()

    def is_done():
        seen.add(page.find(".answer .text").text)
        return page.all(".answer[aria-busy=false]")

    page.until(is_done)
    assert len({text for text in seen if text}) > 2, "the answer came in one piece"
    assert page.find(".answer .text").text.startswith("A fine question 🪨. It was built in 1890.")
    assert [each.text for each in page.all(".answer .remark")] == ["Confidence 0.72"]
    assert page.find(".sentence").text.split() == ["It", "was", "built", "in", "1890.", "1"]

    page.find(".answer .text .cite").click()
    mark = page.until(lambda: page.find("#source mark"))
    assert mark.text == QUOTE
    place, frame = mark.rect, page.find("#source-text").rect
    assert frame["y"] < place["y"] < frame["y"] + frame["height"], "the quote is out of sight"
    assert page.find("#source-title").text == "A long file"
    page.find("body").send_keys("\ue00c")  # Escape
    assert not page.find("#source").is_displayed()

    page.find("[aria-label='Bad answer']").click()
    page.until(lambda: page.find(".correction textarea").is_displayed())
    page.find(".correction textarea").send_keys("In the year 1890.")
    page.find(".correction .filled").click()
    page.until(lambda: "correction is saved" in page.find(".thumbs [role=status]").text)
    row = house.feedback.latest()[0]
    assert (row.rating, row.correction, row.source) == ("down", "In the year 1890.", "user")
    assert row.answer.text == "A fine question 🪨. It was built in 1890."
    assert page.errors() == []


@pytest.mark.parametrize(("model", "words"), [("weak", "too weak"), ("unsure", "No answer")])
def test_a_user_is_told_when_the_model_was_too_weak_and_sees_what_was_found(page, model, words):
    page.choose(model)
    page.ask("When?")
    assert words in page.find(".notice").text
    assert page.all(".answer .remark") == [], "no confidence was calibrated"
    assert TOWER in page.find(".passage").text
    page.find(".passage").click()
    assert page.until(lambda: page.find("#source mark")).text == TOWER


def test_a_title_is_not_repeated_in_the_heading_beside_it(page):
    page.ask("When?")
    page.find(".answer .source-link").click()
    page.until(lambda: page.find("#source mark"))
    found = page.browser.execute_async_script(
        "const done = arguments[0];const title = 'The tower';"
        "import('/static/dom.js').then(({ placeIn }) =>"
        " done(['The tower > History', 'History', 'The tower', ''].map((path) => placeIn(title, path))))"
    )
    assert found == ["History", "History", "", ""]


def test_a_user_stops_an_answer(page, house):
    page.choose("slow")
    page.ask("Go on", to_end=False)
    page.until(lambda: "word" in page.find(".answer .text").text)
    page.find("#stop").click()
    page.until(lambda: "Stopped." in page.find(".answer").text)
    page.until(house.shelf.models["slow"].runs[0].done.is_set)
    assert house.shelf.models["slow"].runs[0].is_cancelled
    assert page.find("#send").is_displayed()
    page.find("[aria-label='Good answer']").click()
    page.until(lambda: "rating is saved" in page.find(".thumbs [role=status]").text)
    assert house.feedback.latest()[0].answer.finish_reason == "cancelled"


def test_a_user_sees_errors_and_keeps_the_question(page):
    page.choose("broken")
    page.ask("Well?")
    assert page.find(".failure").text == "the model fell over"
    assert page.find("#question").get_property("value") == "Well?"


def test_what_a_model_says_is_never_markup(page):
    page.choose("markup")
    page.ask("Say it")
    assert "<b>bold</b>" in page.find(".answer .text").text
    assert page.all(".answer img, .answer b") == []
    assert page.errors() == []


def test_earlier_turns_are_sent_along(page, house):
    page.choose("weak")
    page.ask("one")
    page.ask("two")
    messages = house.events("answer")[1].data["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    page.find("#fresh").click()
    page.ask("three")
    assert len(house.events("answer")[2].data["messages"]) == 1


def test_a_key_is_asked_for_where_the_server_wants_one(browser, tmp_path):
    house = House(tmp_path, Shelf([ScriptedModel("plain")]), key="right")
    with in_background(house.app) as url:
        page = Page(browser, url, is_open=False)
        for key in ("wrong", "right"):
            page.until(
                lambda: page.find("#key").is_displayed() and not page.find("#key").get_property("value")
            )
            page.find("#key").send_keys(key, "\ue007")
        page.until(lambda: page.find("#model").is_enabled())
        assert page.find("#model").text.strip() == "plain"
        browser.execute_script("sessionStorage.clear()")
        browser.get("about:blank")
    house.close()
