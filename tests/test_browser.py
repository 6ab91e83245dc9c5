"""The page's laws, in a real browser: a visitor's way through every tab, on a desktop and on a phone."""

import io
import os
import re
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pillow_heif
import pytest
from app_server import Endless, serve
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect, sync_playwright

from web import brush, closer, jobs, slider, work
from web.examples import EXAMPLES

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")  # else Playwright's own
FLAGS = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run"
CAR = next(example.path for example in EXAMPLES if example.path.stem == "car")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SECONDS = 60_000  # milliseconds that a slow machine may need for one picture


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serve() as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS.split())
        yield browser
        browser.close()


@pytest.fixture(params=SIZES)
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A visitor, once at a desktop and once with a phone."""
    width, height = SIZES[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    context.set_default_timeout(SECONDS)
    yield context
    context.close()


def visit(context: BrowserContext, address: str, tab: str) -> Page:
    page = context.new_page()
    page.goto(f"{address}/?tab={tab}")
    expect(opened(page)).to_have_attribute("id", f"tab-{tab}", timeout=SECONDS)
    return page


def opened(page: Page) -> Locator:
    return page.locator('[role="tabpanel"]:visible')


def upload(box: Locator, path: str | Path) -> None:
    box.locator('input[type="file"]').first.set_input_files(path)
    expect(box.locator("img").first).to_be_visible(timeout=SECONDS)


def choose_example(page: Page, title: str, file: str) -> None:
    """Click an example, and wait for its picture, which has `file` in its address."""
    page.get_by_role("button", name=f"Example: {title}").locator("visible=true").click()
    expect(opened(page).locator(f"img[src*='{file}']").first).to_be_visible(timeout=SECONDS)


def press(page: Page, name: str) -> None:
    opened(page).get_by_role("button", name=name, exact=True).click()


def read_score(page: Page, name: str) -> float:
    row = opened(page).locator(".score", has=page.get_by_text(name, exact=True)).locator("dd")
    expect(row).to_be_visible(timeout=SECONDS)
    return float(row.inner_text().split()[0])


def download(page: Page, name: str) -> Path:
    button = opened(page).get_by_role("button", name=name)
    expect(button).to_be_enabled(timeout=SECONDS)
    with page.expect_download() as started:
        button.click()
    return Path(started.value.path())


def test_a_noisy_photo_comes_back_closer_to_the_truth(context: BrowserContext, address: str) -> None:
    noisy = work.noisy_example(CAR)
    page = visit(context, address, "denoise")
    upload(page.locator("#denoise-photo"), noisy)
    upload(page.locator("#denoise-original"), CAR)
    press(page, "Denoise")
    assert read_score(page, "PSNR now") > read_score(page, "PSNR noisy")
    result = Image.open(download(page, "Download PNG"))
    assert (result.format, result.size) == ("PNG", Image.open(noisy).size)


def test_an_original_stays_until_the_page_itself_has_put_it_there(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "denoise")
    photo, original = page.locator("#denoise-photo"), page.locator("#denoise-original")
    upload(original, CAR)
    upload(photo, CAR)
    page.wait_for_timeout(1000)
    expect(original.locator("img")).to_be_visible()  # the visitor's own
    page = visit(context, address, "denoise")
    photo, original = page.locator("#denoise-photo"), page.locator("#denoise-original")
    choose_example(page, "Dish", "dish-noisy")
    expect(original.locator("img[src*='dish']")).to_be_visible(timeout=SECONDS)
    photo.get_by_role("button", name="Clear").or_(photo.get_by_role("button", name="Remove")).first.click()
    upload(photo, CAR)
    expect(original.locator("img")).to_have_count(0, timeout=SECONDS)  # the example's


def test_a_photo_of_a_format_that_the_browser_does_not_know_is_taken(
    context: BrowserContext, address: str, tmp_path: Path
) -> None:
    pillow_heif.from_pillow(Image.open(CAR)).save(tmp_path / "car.heic")
    page = visit(context, address, "denoise")
    file = {"name": "car.heic", "mimeType": "application/octet-stream", "buffer": (tmp_path / "car.heic").read_bytes()}
    box = page.locator("#denoise-photo")
    box.locator('input[type="file"]').first.set_input_files(file)
    expect(box.locator("img[src*='car.heic']")).to_be_attached(timeout=SECONDS)
    press(page, "Denoise")
    read_score(page, "Time")


PLACE_AND_SCALE = """image => {
    const [own, pane] = [image, image.parentElement].map(element => element.getBoundingClientRect());
    return [own.x - pane.x, own.width / image.naturalWidth];
}"""


def test_the_closer_look_is_the_same_spot_of_both_and_moves(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "denoise")
    upload(page.locator("#denoise-photo"), CAR)
    press(page, "Denoise")
    crops = opened(page).locator(".closer img")
    expect(crops).to_have_count(2, timeout=SECONDS)
    page.wait_for_function("[...document.querySelectorAll('.closer img')].every(image => image.complete)")

    def places() -> list[list[float]]:
        return [crop.evaluate(PLACE_AND_SCALE) for crop in crops.all()]

    (first, scale), second = places()
    assert second == pytest.approx([first, scale], abs=0.1)
    assert scale == closer.SCALE
    opened(page).locator(".closer").focus()
    page.keyboard.press("ArrowRight")
    assert [x for x, _ in places()] == [pytest.approx(first - closer.STEP, abs=0.1)] * 2


def test_an_example_is_restored(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "restore")
    choose_example(page, "Car", "car-old")
    press(page, "Restore")
    read_score(page, "Time")
    expect(opened(page).locator(".result")).to_be_in_viewport(ratio=0.5)  # on a phone too, where it is below the button
    assert Image.open(download(page, "Download JPEG")).format == "JPEG"
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("window.innerWidth")


def test_the_page_scrolls_from_the_result_too(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "restore")
    choose_example(page, "Car", "car-old")
    press(page, "Restore")
    read_score(page, "Time")
    picture = opened(page).locator(".result img").first
    picture.hover(position={"x": 40, "y": 40})
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, 100)
    page.wait_for_function(f"scrollY > {before}")
    page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
    picture.scroll_into_view_if_needed()
    before, place = page.evaluate("scrollY"), picture.bounding_box()
    assert place
    screen = context.new_cdp_session(page)
    for step in range(16):
        finger = {"x": place["x"] + place["width"] / 4, "y": place["y"] + place["height"] / 2 - 10 * step}
        screen.send("Input.dispatchTouchEvent", {"type": "touchMove" if step else "touchStart", "touchPoints": [finger]})
        page.wait_for_timeout(16)
    screen.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_function(f"scrollY > {before}")
    picture.hover(position={"x": 40, "y": 40})
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    expect(picture).not_to_have_css("transform", "matrix(1, 0, 0, 1, 0, 0)")  # it still zooms


def test_noise_is_carried_over_with_the_truth(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "noise")
    expect(opened(page).get_by_role("button", name="Denoise this")).to_be_disabled()  # there is nothing yet
    choose_example(page, "Car", "car.png")
    press(page, "Add noise")
    noisy = read_score(page, "PSNR")
    press(page, "Denoise this")
    expect(opened(page)).to_have_attribute("id", "tab-denoise", timeout=SECONDS)
    expect(page.locator("#denoise-original img").first).to_be_visible(timeout=SECONDS)
    expect(page.locator("#denoise-photo")).to_be_in_viewport()
    press(page, "Denoise")
    assert read_score(page, "PSNR noisy") == noisy < read_score(page, "PSNR now")


def test_colour_is_measured_against_grey(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "colorize")
    choose_example(page, "Car", "car.png")
    hint = opened(page).get_by_text("Before is on the left, after on the right")
    expect(hint).to_be_hidden()  # there is none yet
    press(page, "Colorize")
    expect(hint).to_be_visible(timeout=SECONDS)
    assert read_score(page, "PSNR now") - read_score(page, "PSNR grey") == pytest.approx(read_score(page, "Gain"), abs=0.011)


def test_the_brush_places_and_takes_back_a_colour(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "colorize")
    page.get_by_role("button", name="Example: Car").locator("visible=true").click()
    opened(page).get_by_role("button", name="Colour brush").click()
    canvas = page.locator("#canvas img")
    expect(canvas).to_be_visible(timeout=SECONDS)
    before = canvas.get_attribute("src")
    canvas.click(position={"x": 60, "y": 60})
    expect(canvas).not_to_have_attribute("src", str(before), timeout=SECONDS)
    press(page, "Colorize")
    read_score(page, "Time")
    hinted = Image.open(download(page, "Download PNG")).convert("RGB")
    marked = canvas.get_attribute("src")
    opened(page).get_by_text("Undo", exact=True).click()
    expect(canvas).not_to_have_attribute("src", str(marked), timeout=SECONDS)
    result = opened(page).locator(".result img").last
    before = result.get_attribute("src")
    press(page, "Colorize")
    expect(result).not_to_have_attribute("src", str(before), timeout=SECONDS)
    plain = Image.open(download(page, "Download PNG")).convert("RGB")
    box = canvas.evaluate("image => [image.width, image.height]")
    place = (round(60 * plain.width / box[0]), round(60 * plain.height / box[1]))
    redness = [picture.getpixel(place)[0] - picture.getpixel(place)[2] for picture in (hinted, plain)]
    assert redness[0] > redness[1] + 20


def red_spots(page: Page) -> list[bool]:
    """Whether the canvas is red at each of PLACES."""
    shown = Image.open(io.BytesIO(page.request.get(str(page.locator("#canvas img").get_attribute("src"))).body())).convert("RGB")
    width = page.locator("#canvas img").evaluate("image => image.width")
    pixels = (shown.getpixel(tuple(round(at * shown.width / width) for at in place)) for place in PLACES)
    return [red > blue + 50 for red, _, blue in pixels]


PLACES = [(40, 60), (90, 60), (140, 60)]


def test_every_click_of_the_brush_counts_and_what_goes_wrong_is_told(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "colorize")
    choose_example(page, "Car", "car.png")
    opened(page).get_by_role("button", name="Colour brush").click()
    canvas = page.locator("#canvas img")
    expect(canvas).to_be_visible(timeout=SECONDS)
    held: list[Route] = []
    page.route("**/canvas.png", lambda picture: held.append(picture))
    for x, y in PLACES:  # the second and third while the picture with the first is on its way
        canvas.click(position={"x": x, "y": y})
        page.wait_for_function("document.querySelector('#canvas img').naturalWidth === 0")
    page.route("**/canvas.png", lambda picture: picture.continue_())
    for picture in held:
        picture.continue_()
    wait_until(lambda: red_spots(page) == [True] * 3)
    opened(page).get_by_text("Undo", exact=True).click()
    opened(page).get_by_text("Undo", exact=True).click()
    wait_until(lambda: red_spots(page) == [True, False, False])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(brush, "MAX_HINTS", 1)
        canvas.click(position={"x": 20, "y": 20})
        expect(page.get_by_text("1 colours are the most that a photo takes")).to_be_visible(timeout=SECONDS)


def wait_until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS / 1000
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_canvas_is_that_of_the_photo_beside_it(context: BrowserContext, address: str, tmp_path: Path) -> None:
    Image.new("L", (90, 60), 100).save(tmp_path / "second.png")
    page = visit(context, address, "colorize")
    box = opened(page).locator(".photo").first
    opened(page).get_by_role("button", name="Colour brush").click()
    with jobs._turn:  # as if someone else's job ran
        choose_example(page, "Car", "car.png")
        expect(page.locator("#canvas").get_by_text("Waiting")).to_be_visible(timeout=SECONDS)
        box.get_by_role("button", name="Remove Image").click()
        upload(box, tmp_path / "second.png")
    page.wait_for_function("document.querySelector('#canvas img')?.naturalWidth === 630")
    box.get_by_role("button", name="Remove Image").click()
    expect(page.locator("#canvas img")).to_have_count(0, timeout=SECONDS)


def test_the_example_that_was_clicked_last_is_shown(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "colorize")
    held: list[Route] = []
    page.route("**/queue/join*", lambda request: held.append(request))
    for title in ("Car", "Dish"):
        page.get_by_role("button", name=f"Example: {title}").locator("visible=true").click()
        page.wait_for_timeout(500)
    page.route("**/queue/join*", lambda request: request.continue_())
    for request in held:  # one after the other, since on two connections they may overtake each other
        with page.expect_response("**/queue/join*"):
            request.continue_()
    expect(opened(page).locator(".photo img[src*='dish']")).to_be_visible(timeout=SECONDS)


def test_noise_is_carried_over_from_the_photo_that_got_it(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "noise")
    choose_example(page, "Car", "car.png")
    press(page, "Add noise")
    read_score(page, "PSNR")
    choose_example(page, "Town", "town.png")
    press(page, "Denoise this")
    expect(page.locator("#denoise-original img[src*='car']").first).to_be_visible(timeout=SECONDS)


def test_an_upload_takes_the_place_of_an_example_and_of_its_original(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "denoise")
    page.get_by_role("button", name="Example: Car").locator("visible=true").click()
    expect(page.locator("#denoise-original img").first).to_be_visible(timeout=SECONDS)
    page.locator("#denoise-photo").get_by_role("button", name="Remove Image").click()
    upload(page.locator("#denoise-photo"), CAR)
    expect(page.locator("#denoise-original img")).to_have_count(0, timeout=SECONDS)


def test_cancel_is_open_while_there_is_something_to_cancel(
    context: BrowserContext, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, work_forever = visit(context, address, "denoise"), Endless()
    cancel = opened(page).get_by_role("button", name="Cancel")
    expect(cancel).to_be_disabled()
    press(page, "Denoise")  # of nothing, which fails
    expect(page.get_by_text("There is no photo yet")).to_be_visible(timeout=SECONDS)
    expect(cancel).to_be_disabled()
    upload(page.locator("#denoise-photo"), CAR)
    monkeypatch.setattr(work.restore, "denoise", work_forever)
    press(page, "Denoise")
    expect(cancel).to_be_enabled(timeout=SECONDS)
    assert work_forever.started.wait(30)
    cancel.click()
    expect(page.get_by_text("Cancelled.")).to_be_visible(timeout=SECONDS)
    expect(cancel).to_be_disabled(timeout=SECONDS)
    expect(opened(page).get_by_role("button", name="Download PNG")).to_be_disabled()


def test_the_button_is_shut_until_what_is_cancelled_is_given_up(
    context: BrowserContext, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, work_forever = visit(context, address, "denoise"), Endless()
    button = opened(page).get_by_role("button", name="Denoise", exact=True)
    upload(page.locator("#denoise-photo"), CAR)
    with monkeypatch.context() as patch:
        patch.setattr(work.restore, "denoise", work_forever)
        press(page, "Denoise")
        assert work_forever.started.wait(30)
        held: list[Route] = []
        page.route("**/queue/join*", lambda route: held.append(route))
        with page.expect_request("**/queue/join*"):
            press(page, "Cancel")
        expect(button).to_be_disabled()
        assert work_forever.stopped.wait(30)
    expect(button).to_be_disabled()
    held[0].continue_()
    page.unroute("**/queue/join*")
    expect(button).to_be_enabled(timeout=SECONDS)
    press(page, "Denoise")
    read_score(page, "Time")


def test_before_and_after_are_compared_by_keys(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "denoise")
    upload(page.locator("#denoise-photo"), CAR)
    press(page, "Denoise")
    read_score(page, "Time")
    handle = opened(page).get_by_role("slider", name="Percent of the picture that is as before")
    line = handle.locator(".inner")
    box = opened(page).locator(".result .wrap").last.bounding_box()
    middle = line.bounding_box()
    assert box is not None
    assert middle is not None
    for key, side in (("ArrowRight", 1), ("ArrowLeft", -1)):
        before = line.bounding_box()
        assert before is not None
        for _ in range(3):
            handle.press(key)
            page.wait_for_timeout(100)
        after = line.bounding_box()
        assert after is not None
        assert after["x"] - before["x"] == pytest.approx(side * 3 * slider.STEP, abs=3)
    handle.press("ArrowRight")
    share = 100 * (middle["x"] + slider.STEP - box["x"]) / box["width"]
    expect(handle).to_have_attribute("aria-valuenow", re.compile(f"{share:.0f}|{share - 1:.0f}|{share + 1:.0f}"))
    expect(opened(page).locator(".result").get_by_role("img", name="Before")).to_be_visible()
    expect(opened(page).locator(".result").get_by_role("img", name="After")).to_be_visible()


def test_the_gallery_shows_every_method(context: BrowserContext, address: str) -> None:
    page = visit(context, address, "gallery")
    press(page, "Compare")
    for method in ("Noisy", "Denoised, ours", "Non-local means", "Median", "Grey", "Colorized, ours"):
        expect(opened(page).get_by_text(re.compile(f"^{method}: [0-9.]+ dB")).first).to_be_visible(timeout=SECONDS)
    opened(page).locator(".thumbnail-item").nth(2).click()
    expect(opened(page).locator(".preview img").first).to_be_in_viewport(ratio=0.9)
    expect(opened(page).get_by_role("button", name="Share")).to_have_count(0)  # it would send the pictures elsewhere
    page.keyboard.press("Escape")
    assert download(page, "Download CSV").read_text().startswith("Photo,Method,PSNR")


def right_edge(element: Locator) -> float:
    return float(element.evaluate("element => element.getBoundingClientRect().right"))


def test_a_batch_comes_back_as_a_zip(context: BrowserContext, address: str, tmp_path: Path) -> None:
    letter = tmp_path / f"letter{'_from_an_aunt' * 6}.jpg"
    letter.write_text("Dear photographer")
    page = visit(context, address, "batch")
    opened(page).locator('input[type="file"]').first.set_input_files([CAR, letter])
    expect(opened(page).get_by_text("letter").first).to_be_visible(timeout=SECONDS)
    press(page, "Start")
    link = opened(page).get_by_role("row", name="restored.zip").get_by_role("link")
    expect(link).to_be_visible(timeout=SECONDS)
    with zipfile.ZipFile(io.BytesIO(page.request.get(str(link.get_attribute("href"))).body())) as archive:
        assert archive.namelist() == ["car.png"]
    reason = opened(page).get_by_role("gridcell", name="Failed: this is not a picture")
    assert right_edge(reason) <= right_edge(opened(page))  # read without scrolling sideways


def test_an_error_is_told_and_recovered_from(context: BrowserContext, address: str, tmp_path: Path) -> None:
    (tmp_path / "letter.jpg").write_text("Dear photographer")
    page = visit(context, address, "restore")
    opened(page).locator('input[type="file"]').first.set_input_files(tmp_path / "letter.jpg")
    page.wait_for_function("document.querySelector('[role=tabpanel] img') !== null")
    press(page, "Restore")
    expect(page.get_by_text("This is not a picture of a format")).to_be_visible(timeout=SECONDS)
    choose_example(page, "Car", "car-old")
    for _ in range(2):
        press(page, "Restore")
        read_score(page, "Time")
        opened(page).get_by_role("button", name="Remove Image").first.click()
        press(page, "Restore")
        expect(page.get_by_text("There is no photo yet").last).to_be_visible(timeout=SECONDS)
        expect(opened(page).locator(".score")).to_have_count(0)  # the result before does not stand for this one
        expect(opened(page).locator(".closer img")).to_have_count(0)
        expect(opened(page).get_by_role("button", name="Download PNG")).to_be_disabled()
        choose_example(page, "Car", "car-old")


def test_two_visitors_see_their_own(browser: Browser, address: str, tmp_path: Path) -> None:
    pages, contexts = [], [browser.new_context(), browser.new_context()]
    for shade, context in zip((60, 200), contexts, strict=True):
        Image.new("RGB", (64, 64), (shade,) * 3).save(tmp_path / f"{shade}.png")
        page = visit(context, address, "denoise")
        upload(page.locator("#denoise-photo"), tmp_path / f"{shade}.png")
        pages.append(page)
    for page in pages:
        press(page, "Denoise")
    for page, shade in zip(pages, (60, 200), strict=True):
        assert abs(Image.open(download(page, "Download PNG")).getpixel((30, 30))[0] - shade) < 20
    for context in contexts:
        context.close()


UNNAMED_BUTTONS = """[...document.querySelectorAll("button")]
    .filter(button => button.offsetParent && !button.innerText.trim() && !button.ariaLabel && !button.title)
    .map(button => button.outerHTML.slice(0, 200))"""


HEIGHTS_OF_HEADS = "[...document.querySelectorAll('.measured thead')].map(head => head.offsetHeight)"


@pytest.mark.parametrize("size", SIZES)
def test_every_tab_fits_is_named_and_fetches_nothing_from_elsewhere(browser: Browser, address: str, size: str) -> None:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height})
    asked: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    page = context.new_page()
    page.goto(f"{address}/?__theme=dark")
    expect(opened(page)).to_have_attribute("id", "tab-restore", timeout=SECONDS)
    for tab in page.get_by_role("tab").all():
        tab.click()
        expect(opened(page)).to_have_attribute("id", str(tab.get_attribute("aria-controls")))
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab.inner_text()
        assert page.evaluate(UNNAMED_BUTTONS) == [], tab.inner_text()
    assert page.title() == "Photo Restorer"
    assert page.url.endswith("?__theme=dark&tab=about")
    assert max(page.evaluate(HEIGHTS_OF_HEADS)) < 60  # a line each: no table is squeezed to letters below each other
    context.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.parametrize("way_out", ["cancel", "leave"])
def test_who_cancels_or_leaves_gives_up_the_turn(
    context: BrowserContext, address: str, monkeypatch: pytest.MonkeyPatch, way_out: str
) -> None:
    page, work_forever = visit(context, address, "denoise"), Endless()
    upload(page.locator("#denoise-photo"), CAR)
    with monkeypatch.context() as patch:
        patch.setattr(work.restore, "denoise", work_forever)
        press(page, "Denoise")
        assert work_forever.started.wait(30)
        if way_out == "cancel":
            press(page, "Cancel")
            assert work_forever.stopped.wait(10)
            expect(opened(page).get_by_text("Working")).to_be_hidden()
        else:
            page.close()
            assert work_forever.stopped.wait(30)
            page = visit(context, address, "denoise")
            upload(page.locator("#denoise-photo"), CAR)
    press(page, "Denoise")
    read_score(page, "Time")
