"""The pages in a real browser: a session is seen to end with a dropout in it, and a participant opts out.

Nothing is fetched from elsewhere, no console complains, and axe finds nothing wrong, in light and dark, on a desktop
and on a phone.
"""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import axe_core_python
import numpy as np
import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

from protocols.core.participants import Participants
from protocols.core.threat_model import ThreatModel
from protocols.inputs.vectors import IntegerVector
from protocols.masking.policy import ClientPolicy
from protocols.service.client import take_part
from protocols.service.consents import Consents
from protocols.service.deadlines import Deadlines
from protocols.service.jobs import summing
from protocols.service.observing import Observer
from protocols.service.pages.joining import serve_page
from protocols.service.pages.routes import routes
from protocols.service.tokens import Token
from protocols.service.views import Letter
from tests.protocols.service.places import certificates, connected, service_at

AXE = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
NAMES = [f"hospital-{number}" for number in range(1, 7)]
GONE, UNWILLING = NAMES[2], NAMES[4]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def programs() -> tuple[str, str]:
    """Return chromium and its driver; the package manager installs them where there are none."""
    names = ("chromium", "chromedriver")
    if not all(map(shutil.which, names)) and os.geteuid() == 0 and shutil.which("apt-get"):
        quietly = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update"], check=False, capture_output=True)  # noqa: S607
        get = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium", "chromium-driver"]
        subprocess.run(get, check=False, capture_output=True, env=quietly)  # noqa: S603
    found = [shutil.which(name) for name in names]
    if None in found:  # nothing that a user without rights could mend; continuous integration has them
        pytest.skip("chromium or its driver is missing: install them, for instance by apt-get install chromium-driver")
    return str(found[0]), str(found[1])


class Place:
    """A service, its members and one participant's page, on an event loop in a thread of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token, self.own_token = Token.new(), Token.new()
        self.consents = Consents(folder / "own")
        self.url = self.own_url = self.session = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    @contextmanager
    def serving(self):
        self._thread.start()
        assert self._ready.wait(60)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(30)
            assert not self._thread.is_alive()

    def go_on(self) -> None:
        """Let everybody but the one who vanishes answer with inputs."""
        self._loop.call_soon_threadsafe(self._may_give.set)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over, self._may_give = asyncio.Event(), asyncio.Event()
        observer = Observer()
        service = service_at(
            self.folder,
            certificates(),
            observe=observer,
            routes=lambda service: routes(service.desk, token=self.token, observer=observer, service="Sums <here>"),
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with service:
            await self._serve(service, port)

    async def _serve(self, service, port: int) -> None:
        async with service.serving(), asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._member(service, name)) for name in NAMES]
            await service.enrolled(NAMES)
            self.url, self.own_url = service.url, f"http://127.0.0.1:{port}"
            own = serve_page(self.consents, port=port, token=self.own_token, name=UNWILLING, service=service.url)
            tasks.append(group.create_task(own))
            spec = summing(
                "Patients & beds <by ward>",
                (IntegerVector("patients", 3, max_value=1 << 20),),
                ThreatModel(6, 0.1, 0.34),
                Participants(NAMES),
                deadlines=Deadlines(120, phases={"masked-input": Deadlines(120, quorum=4)}),
            )
            self.session = await service.desk.open(spec)
            self._ready.set()
            await self._over.wait()
            for task in tasks:
                task.cancel()

    async def _member(self, service, name: str) -> None:
        async with connected(service, certificates(), name) as connection:
            next_letter, exchange = connection.next_letter, connection.exchange

            async def held_up(letter: Letter | None):
                if letter is not None and letter.phase == "masked-input":
                    await (asyncio.Event() if name == GONE else self._may_give).wait()
                return letter

            async def held_up_letter(*asked):
                return await held_up(await next_letter(*asked))

            async def held_up_exchange(*asked):
                receipt, letter = await exchange(*asked)
                return receipt, await held_up(letter)

            connection.next_letter, connection.exchange = held_up_letter, held_up_exchange
            await take_part(
                connection,
                name,
                {"sum": lambda terms: {"patients": np.array([1, 2, 3])}},
                state=self.folder / name,
                policy=ClientPolicy.permissive(),
                consents=self.consents if name == UNWILLING else None,
                warm=False,
            )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with Place(tmp_path_factory.mktemp("place")).serving() as serving:
        yield serving


@pytest.fixture(scope="module")
def browser(tmp_path_factory, place):  # goes before the place does, or would go on asking
    chromium, driver = programs()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.accept_insecure_certs = True  # the certificate's authority is the test's own
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for argument in (
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):
        options.add_argument(argument)
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield running
    running.quit()


def until(browser, text: str, seconds: float = 30) -> None:
    """Wait until the page holds a text, without reloading it."""
    shown = "return document.body.innerText"
    try:
        WebDriverWait(browser, seconds, 0.1).until(lambda each: text in each.execute_script(shown))
    except TimeoutException:
        pytest.fail(f"no {text!r} on the page, but: {browser.execute_script(shown)}")


def press(browser, text: str) -> None:
    """Press what says so, in one go: the page renews itself."""
    named = "[...document.querySelectorAll('a, button')].find((each) => each.textContent === arguments[0])"
    browser.execute_script(f"{named}.click()", text)


def sign_in(browser, token: Token) -> None:
    browser.find_element(By.ID, "token").send_keys(token.text)
    press(browser, "Sign in")
    until(browser, "Sign out")


def look_all_over(browser, name: str) -> None:
    """Look at a page in both sizes and colours with axe; no page is wider than its window."""
    for size, (width, height) in SIZES.items():
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for colours in ("light", "dark"):
            scheme = {"features": [{"name": "prefers-color-scheme", "value": colours}]}
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
            here = f"{name}, {size}, {colours}"
            wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert browser.execute_script(wide) == 0, here
            found = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
            wrong = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]
            assert wrong == [], here
            assert len(found["passes"]) > 10, here
            if pictures := os.environ.get("SECAGG_PICTURES"):
                browser.save_screenshot(str(Path(pictures) / f"{name}-{size}-{colours}.png"))
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def axe(browser) -> None:
    # Through the debugger: the page's own policy would not run it.
    browser.execute_cdp_cmd("Runtime.evaluate", {"expression": AXE})


def check_quiet(browser, *services: str) -> None:
    """Fail if the console complained, or anything was asked of anybody but the pages' own services."""
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("WARNING", "SEVERE")] == []
    asked = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.append(message["params"]["request"]["url"])
    fetched = [url for url in asked if not url.startswith(("data:", "about:", "chrome:", "chrome-untrusted:"))]
    assert fetched
    assert [url for url in fetched if not url.startswith(services)] == []


def test_a_session_is_seen_to_end_a_dropout_is_seen_and_an_opt_out_done(browser, place):
    browser.get(f"{place.url}/")
    until(browser, "Patients & beds <by ward>")
    axe(browser)
    look_all_over(browser, "overview")
    press(browser, "Patients & beds <by ward>")
    until(browser, "Inputs")
    until(browser, GONE)  # awaited
    axe(browser)
    look_all_over(browser, "running")
    operators = browser.current_window_handle
    sign_in(browser, place.token)

    browser.switch_to.new_window("tab")  # the participant's own page
    browser.get(f"{place.own_url}/")
    until(browser, "Patients & beds <by ward>")
    assert not browser.find_elements(By.CSS_SELECTOR, 'form[action="/opt-out"]')
    sign_in(browser, place.own_token)
    press(browser, "Opt out of patients for sum")
    until(browser, "opted out")
    assert [str(each) for each in place.consents.out()] == ["patients for sum"]
    place.go_on()
    until(browser, "consent-withdrawn")  # by itself: nobody has reloaded it
    axe(browser)
    look_all_over(browser, "participant")

    browser.switch_to.window(operators)
    until(browser, "Completed after")  # the same: this page was open all the time
    text = browser.execute_script("return document.body.innerText")
    out = text[text.index("Out, and why") : text.index("About this session")]
    assert "no answer in phase Inputs" in out[out.index(GONE) :]
    assert "opted out of patients for sum" in out[out.index(UNWILLING) :]
    result = text[text.index("Result") : text.index("Phases")]
    assert "4\t8\t12" in result
    assert "In the sum: 4" in result
    axe(browser)
    look_all_over(browser, "completed")
    check_quiet(browser, place.url, place.own_url)


def test_what_is_pressed_is_not_replaced_before_it_is_let_go(browser, place):
    browser.get(f"{place.url}/members")
    until(browser, "can take part")
    heading = browser.find_element(By.TAG_NAME, "h1")
    mouse = ActionChains(browser)
    mouse.click_and_hold(heading).pause(2.5).perform()
    assert heading.is_displayed()  # or it would be stale
    mouse.reset_actions()
    ActionChains(browser).release().perform()
    WebDriverWait(browser, 30, 0.1).until(staleness_of(heading))


def test_pages_work_without_their_script(browser, place):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get("about:blank")  # or the page of the test before would do
        browser.get(f"{place.url}/members")
        for name in NAMES:  # without scripts, the driver may return before the page is there
            until(browser, name)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_service_that_is_gone_is_said(browser, place):
    browser.get(f"{place.url}/")
    until(browser, "Sessions")
    browser.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    until(browser, "The service does not answer")
    browser.execute_cdp_cmd("Network.emulateNetworkConditions", offline | {"offline": False})
    WebDriverWait(browser, 30, 0.1).until(
        lambda each: each.find_element(By.ID, "status").get_attribute("class") == "heard"
    )
    browser.get_log("browser")
