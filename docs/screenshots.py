"""Photograph every tab of the running app, on a desktop and on a phone: `python docs/screenshots.py [ADDRESS]`."""

import sys
from pathlib import Path

from playwright.sync_api import Locator, Page, expect, sync_playwright

FOLDER = Path(__file__).parent
EXAMPLES = FOLDER.parent / "examples"
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--no-first-run"]
WAIT = 120_000  # milliseconds
BUTTONS = {
    "restore": "Restore",
    "denoise": "Denoise",
    "colorize": "Colorize",
    "noise": "Add noise",
    "gallery": "Compare",
    "batch": "Start",
}
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def photograph(page: Page, address: str, tab: str, path: Path) -> None:
    """Open a tab, let it work on an example, and take its picture."""
    page.goto(f"{address}/?tab={tab}")
    panel = page.locator(f"#tab-{tab}")
    expect(panel).to_be_visible(timeout=WAIT)
    if tab == "batch":
        panel.locator('input[type="file"]').first.set_input_files([EXAMPLES / "car.png", EXAMPLES / "town.png"])
        expect(panel.get_by_text("town").first).to_be_visible(timeout=WAIT)
    elif tab in ("restore", "denoise", "colorize", "noise"):
        panel.get_by_role("button", name="Example: Town").click()
        expect(panel.locator("img[src*='/town']:not([src*='thumbnails'])").first).to_be_visible(timeout=WAIT)
    elif tab == "about":
        expect(panel.locator(".vega-embed svg")).to_be_visible(timeout=WAIT)
    if tab in BUTTONS:
        panel.get_by_role("button", name=BUTTONS[tab], exact=True).click()
        expect(finished(panel, tab)).to_be_visible(timeout=WAIT)
        page.wait_for_timeout(1000)  # the slider and the progress fade
    page.mouse.move(0, 0)
    page.screenshot(path=path, full_page=True, type="jpeg", quality=80)


def finished(panel: Locator, tab: str) -> Locator:
    """What is there when the work is done."""
    if tab == "gallery":
        return panel.get_by_text("Noisy grey, restored:").first
    return panel.get_by_role("gridcell", name="town.png").first if tab == "batch" else panel.locator(".score").first


def main(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM if CHROMIUM.exists() else None, args=FLAGS)
        for name, (width, height) in SIZES.items():
            context = browser.new_context(viewport={"width": width, "height": height})
            page = context.new_page()
            for tab in (*BUTTONS, "about"):
                photograph(page, address, tab, FOLDER / f"{tab}-{name}.jpg")
            context.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:7860")
