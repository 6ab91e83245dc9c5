"""A magnified crop of before and after, side by side: the browser cuts it out of the two pictures that it has anyway."""

SCALE = 4
STEP = 32  # pixels of the screen that an arrow key moves by

TEMPLATE = """{{#if value}}<div class="closer" tabindex="0" role="group"
aria-label="The same spot before and after, magnified. Arrow keys or dragging move it.">
<figure><div><img src="{{value.[0]}}" alt="Before, magnified" draggable="false"></div>
<figcaption>Before &times; SCALE</figcaption></figure>
<figure><div><img src="{{value.[1]}}" alt="After, magnified" draggable="false"></div>
<figcaption>After &times; SCALE. Drag to look around.</figcaption></figure>
</div>{{/if}}""".replace("SCALE", str(SCALE))

URLS = "(pair) => [pair && pair[0] && pair[1] ? pair.map((file) => file.url) : null]"  # of the slider's two pictures

# --x and --y are the spot as a share of the way across and down; the style sheet moves both pictures by them.
ON_LOAD = f"""
const SCALE = {SCALE}, STEP = {STEP};
const spot = {{x: 0.5, y: 0.5}};
let last = {{clientX: 0, clientY: 0}};
const move = (right, down) => {{
    const image = element.querySelector(".closer img");
    if (!image) return;
    const pane = image.parentElement;
    const room = {{x: SCALE * image.naturalWidth - pane.clientWidth, y: SCALE * image.naturalHeight - pane.clientHeight}};
    for (const [axis, shift] of [["x", right], ["y", down]]) {{
        if (room[axis] > 0) spot[axis] = Math.min(1, Math.max(0, spot[axis] + shift / room[axis]));
        element.style.setProperty("--" + axis, spot[axis]);
    }}
}};
const KEYS = {{ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP]}};
element.addEventListener("keydown", (event) => {{
    if (!KEYS[event.key] || !event.target.closest(".closer")) return;
    event.preventDefault();
    move(...KEYS[event.key]);
}});
element.addEventListener("pointerdown", (event) => {{
    const pane = event.target.closest(".closer figure > div");
    if (pane) pane.setPointerCapture(event.pointerId);
    last = event;
}});
element.addEventListener("pointermove", (event) => {{
    if (!event.buttons || !event.target.closest(".closer figure > div")) return;
    move(last.clientX - event.clientX, last.clientY - event.clientY);  // not movementX, which older iPhones do not have
    last = event;
}});
"""
