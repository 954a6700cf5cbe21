"""A real browser: headless Chromium runs notebooks in JupyterLab and moves a slider with the keyboard.

`make browser` installs what this needs and runs it; without Chromium or playwright it is skipped and says so.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = ["01_action_units_and_faces", "07_relation_hopfield", "09_evaluation"]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync"]
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight stay in the page, to be looked at
}
OFFLINE = "net::ERR_"  # what JupyterLab itself would like to fetch is not there offline

try:
    from playwright.sync_api import expect, sync_playwright
except ImportError:
    sync_playwright = None

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sync_playwright is None, reason="playwright is not installed: `make browser` does it"),
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: `make browser` does it on Debian, Ubuntu"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Address of a JupyterLab server whose root holds copies of the notebooks without outputs."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "notebooks").mkdir()
    for name in NOTEBOOKS:
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")
    for name, values in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
              "JUPYTER_CONFIG_DIR": "config", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | {key: str(folder / name) for key, name in places.items()}
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}",
             "--ServerApp.port_retries=0", "--IdentityProvider.token=", f"--ServerApp.root_dir={folder / 'notebooks'}"],
            env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, (folder / "server.log").read_text()
                time.sleep(0.25)
        yield f"http://127.0.0.1:{port}/lab"
    finally:
        server.terminate()  # the server ends its kernels
        server.wait(timeout=30)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def choose(page, *names):
    """Click through the menu bar as a reader does."""
    page.locator(".lm-MenuBar-item", has_text=names[0]).first.click()
    for name in names[1:]:
        page.locator(".lm-Menu-item:visible", has_text=name).first.click()


def move_first_slider(page) -> None:
    """The first slider that belongs to a picture: focus its handle, press an arrow key, and see another picture."""
    slider = page.locator(".jp-OutputArea-output").filter(has=page.locator("img")).locator(".noUi-handle").first
    slider.scroll_into_view_if_needed()
    output = slider.locator("xpath=ancestor::*[contains(@class, 'jp-OutputArea-output')][1]")
    shown, readout = output.locator("img").first, slider.locator("xpath=ancestor::*[contains(@class, 'widget-slider')]")
    before, value = shown.get_attribute("src"), readout.locator(".widget-readout").inner_text()
    slider.focus()
    low, high, now = (float(slider.get_attribute(f"aria-value{end}")) for end in ("min", "max", "now"))
    page.keyboard.press("ArrowRight" if now < high else "ArrowLeft")
    assert low < high
    expect(shown).not_to_have_attribute("src", before, timeout=20_000)
    assert readout.locator(".widget-readout").inner_text() != value


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_reacts(lab, browser, name):
    cells = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells
    count = sum(cell.cell_type == "code" for cell in cells)
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    errors = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{lab}/tree/{name}.ipynb?reset", wait_until="domcontentloaded")
    page.locator(".jp-Notebook .jp-CodeCell").last.wait_for(state="attached", timeout=60_000)
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)  # before that, a click is lost
    choose(page, "Run", "Run All Cells")
    page.wait_for_function(
        "() => { const prompts = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell .jp-InputPrompt')]"
        "          .map(prompt => prompt.textContent);"
        "        return prompts[0] !== '[ ]:' && !prompts.includes('[*]:'); }", timeout=300_000)
    failed = page.locator(".jp-Notebook [data-mime-type*='vnd.jupyter.error'], .jp-Notebook [data-mime-type*='stderr']")
    assert failed.all_inner_texts() == []
    assert page.locator(".jp-Notebook .jp-CodeCell .jp-InputPrompt").last.inner_text() == f"[{count}]:"
    move_first_slider(page)
    assert [error for error in errors if OFFLINE not in error] == []
    page.close()
