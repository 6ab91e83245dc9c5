"""What gradio's slider of two pictures lacks: the page scrolls from there, the arrow keys move it, and it has a name."""

STEP = 24  # pixels of the screen that an arrow key moves by

# Otherwise it zooms at every wheel and holds every finger.
LET_SCROLL = """() => {
    const handle = "[data-testid=slider]";
    const isZoomed = (box) => /scale\\((?!1\\))/.test(box.querySelector("img")?.style.transform ?? "");
    const pass = (event) => {
        const box = event.target.closest(`.result:has(${handle}):not(.fullscreen)`);
        const zooms = event.touches ? event.touches.length > 1 : event.ctrlKey || event.metaKey;
        if (box && !zooms && !isZoomed(box) && !event.target.closest(handle)) event.stopPropagation();
    };
    for (const name of ["touchstart", "wheel"]) document.addEventListener(name, pass, {capture: true, passive: true});
}"""

# It knows the mouse alone, whose press puts the handle where it is.
TAKE_KEYS = f"""() => {{
    const STEPS = {{ArrowLeft: -{STEP}, ArrowRight: {STEP}}};
    const name = () => {{
        for (const handle of document.querySelectorAll(".result [data-testid=slider]:not([tabindex])")) {{
            const named = {{role: "slider", tabindex: 0, "aria-label": "Percent of the picture that is as before"}};
            const numbers = {{"aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 50}};
            for (const [key, value] of Object.entries({{...named, ...numbers}})) handle.setAttribute(key, value);
            const [before, after] = handle.closest(".result").querySelectorAll("img");
            before.alt = "Before";
            after.alt = "After";
        }}
    }};
    new MutationObserver(name).observe(document.body, {{childList: true, subtree: true}});
    const place = (handle) => new DOMMatrix(getComputedStyle(handle).transform).e;
    document.addEventListener("keydown", (event) => {{
        const handle = event.target.closest(".result [data-testid=slider]");
        if (!handle || !STEPS[event.key]) return;
        event.preventDefault();
        const box = handle.parentElement.getBoundingClientRect();
        const there = {{bubbles: true, view: window, clientX: box.left + place(handle) + STEPS[event.key], clientY: box.top + 1}};
        handle.dispatchEvent(new MouseEvent("mousedown", there));
        window.dispatchEvent(new MouseEvent("mouseup", there));
        requestAnimationFrame(() => handle.setAttribute("aria-valuenow", Math.round((100 * place(handle)) / box.width)));
    }});
}}"""
