"use strict";
// The scan: window, zoom, moving, and the slices of a volume. niivue draws; what fingers, mouse and keys mean is here.

(() => {
  const view = document.getElementById("view");
  const by = (id) => document.getElementById(id);
  const chips = [...document.querySelectorAll("[data-window]")];
  const volume = view.dataset.unit === "volume";
  const low = Number(view.dataset.low), high = Number(view.dataset.high), span = high - low;
  const LARGEST = 12;
  let nv = null, image = null, middle = [0, 0, 0], first = null;
  let level = 0, width = 1, zoom = 1, at = [0, 0], slice = 0, slices = 1;
  let chosen = null, repaint = false, rewindow = false;

  // What is to be drawn is drawn once a frame, however many events a mouse sends.
  function draw(windowToo) {
    rewindow = rewindow || windowToo;
    if (repaint || !image) return;
    repaint = true;
    requestAnimationFrame(() => {
      repaint = false;
      if (rewindow) {
        image.cal_min = level - width / 2;
        image.cal_max = level + width / 2;
        nv.updateGLVolume();
      }
      rewindow = false;
      nv.scene.crosshairPos = [0.5, 0.5, (slice + 0.5) / slices];
      // niivue wants the shift before the zoom; `at` is the point, in mm, in the middle of the view.
      nv.setPan2Dxyzmm([middle[0] - zoom * at[0], middle[1] - zoom * at[1], 0, zoom]);
      tell();
    });
  }

  function tell() {
    by("reading").textContent = `L ${Math.round(level)}  W ${Math.round(width)}` + (zoom > 1 ? `  ${zoom.toFixed(1)}×` : "");
    by("level").value = level;
    by("width").value = width;
    by("slice").value = slice + 1;
    by("slice-number").textContent = `${slice + 1} / ${slices}`;
    const fits = (chip) => {
      const [l, w] = windowOf(chip);
      return Math.abs(l - level) < 0.5 && Math.abs(w - width) < 0.5;
    };
    // Two windows may be the same one; the one that was asked for is lit.
    const lit = chosen && fits(chosen) ? chosen : chips.find(fits);
    for (const chip of chips) chip.setAttribute("aria-pressed", String(chip === lit));
    view.dataset.state = `${Math.round(level)},${Math.round(width)},${zoom.toFixed(3)},${slice + 1}`;
  }

  function windowOf(chip) {
    if (chip.dataset.window !== "auto") return chip.dataset.window.split(",").map(Number);
    return [(image.robust_min + image.robust_max) / 2, Math.max(image.robust_max - image.robust_min, 1)];
  }

  function setWindow(l, w) {
    level = Math.min(Math.max(l, low - span), high + span);
    width = Math.min(Math.max(w, span / 100), 6 * span);
    draw(true);
  }

  function setSlice(number) {
    slice = Math.min(Math.max(Math.round(number), 0), slices - 1);
    draw(false);
  }

  const fit = () => Math.min(view.clientWidth / first.wide, view.clientHeight / first.high);

  // Screen pixels to mm, from the middle of the view; radiological: the patient's left is on the right.
  const off = (x, y) => [-x / (fit() * zoom), -y / (fit() * zoom)];

  function move(dx, dy) {
    const [x, y] = off(dx, dy);
    at = [at[0] - x, at[1] - y];
    inside();
    draw(false);
  }

  function setZoom(to, x = 0, y = 0) {
    const before = off(x, y);
    zoom = Math.min(Math.max(to, 1), LARGEST);
    const after = off(x, y);
    // What is under the finger stays under it.
    at = [at[0] + before[0] - after[0], at[1] + before[1] - after[1]];
    inside();
    draw(false);
  }

  function inside() {
    for (const [axis, side] of [[0, first.wide], [1, first.high]]) {
      const most = side / 2 * (1 - 1 / zoom);
      at[axis] = Math.min(Math.max(at[axis], middle[axis] - most), middle[axis] + most);
    }
  }

  function reset() {
    zoom = 1;
    at = middle.slice(0, 2);
    slice = Math.floor(slices / 2);
    chosen = null;
    setWindow(...windowOf(chips[0]));
  }

  // Mouse, pen and fingers. One pointer: window, or slices under a finger in a volume; two: zoom and move.
  const pointers = new Map();
  let travelled = 0;

  view.addEventListener("pointerdown", (event) => {
    by("hint")?.remove();
    view.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, event);
    travelled = 0;
  });
  for (const end of ["pointerup", "pointercancel"]) {
    view.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }
  view.addEventListener("contextmenu", (event) => event.preventDefault());

  view.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last || !image) return;
    const dx = event.clientX - last.clientX, dy = event.clientY - last.clientY;
    if (pointers.size === 2) pinch(last, event, dx, dy);
    else if (pointers.size === 1) drag(event, dx, dy);
    pointers.set(event.pointerId, event);
  });

  function drag(event, dx, dy) {
    if (event.buttons & 6 || event.shiftKey) return move(dx, dy);
    if (event.pointerType === "touch" && volume) {
      travelled += dy;
      const step = Math.max(view.clientHeight / (1.5 * slices), 4);
      const steps = Math.trunc(travelled / step);
      travelled -= steps * step;
      return setSlice(slice + steps);
    }
    // Right: wider. Up: brighter.
    setWindow(level + dy * span / 400, width + dx * span / 250);
  }

  function pinch(last, event, dx, dy) {
    const other = [...pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    const apart = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY);
    const box = view.getBoundingClientRect();
    const x = (event.clientX + other.clientX) / 2 - box.left - box.width / 2;
    const y = (event.clientY + other.clientY) / 2 - box.top - box.height / 2;
    setZoom(zoom * apart(event) / Math.max(apart(last), 1), x, y);
    move(dx / 2, dy / 2);
  }

  let wheeled = 0;
  view.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!image) return;
    const notches = event.deltaY / (event.deltaMode === 0 ? 100 : 3);
    const box = view.getBoundingClientRect();
    if (!volume || event.ctrlKey) {
      const x = event.clientX - box.left - box.width / 2, y = event.clientY - box.top - box.height / 2;
      return setZoom(zoom * Math.exp(-notches * (event.ctrlKey ? 0.6 : 0.15)), x, y);
    }
    // Touch pads send many small steps.
    wheeled += notches;
    const steps = Math.abs(wheeled) >= 1 ? Math.trunc(wheeled) : Math.abs(notches) >= 0.5 ? Math.sign(notches) : 0;
    if (steps) {
      wheeled = 0;
      setSlice(slice + steps);
    }
  }, { passive: false });

  document.addEventListener("keydown", (event) => {
    if (!image || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("textarea, input")) return;
    const step = { ArrowUp: -1, ArrowDown: 1, PageUp: -5, PageDown: 5 }[event.key];
    if (step && volume) setSlice(slice + step);
    else if (step) setWindow(level + step * span / 40, width);
    else if (event.key === "+" || event.key === "=") setZoom(zoom * 1.25);
    else if (event.key === "-") setZoom(zoom / 1.25);
    else if (event.key === "0") reset();
    else return;
    event.preventDefault();
  });

  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chosen = chip;
      if (image) setWindow(...windowOf(chip));
    });
  }
  // After a click the keys are the scan's again: Enter saves, and does not press the button once more.
  document.querySelector(".tools").addEventListener("click", (event) => {
    if (event.detail) view.focus({ preventScroll: true });
  });
  by("zoom-in").addEventListener("click", () => image && setZoom(zoom * 1.4));
  by("zoom-out").addEventListener("click", () => image && setZoom(zoom / 1.4));
  by("reset").addEventListener("click", () => image && reset());
  by("slice").addEventListener("input", (event) => setSlice(event.target.value - 1));
  by("level").addEventListener("input", (event) => setWindow(Number(event.target.value), width));
  by("width").addEventListener("input", (event) => setWindow(level, Number(event.target.value)));
  window.addEventListener("resize", () => draw(false));

  async function open() {
    nv = new niivue.Niivue({
      interactive: false,
      dragAndDropEnabled: false,
      backColor: [0, 0, 0, 1],
      crosshairWidth: 0,
      isOrientationTextVisible: false,
      isRadiologicalConvention: true,
      loadingText: "",
      logLevel: "error",
      sliceType: 0,
    });
    await nv.attachToCanvas(by("canvas"));
    await nv.loadVolumes([{ url: view.dataset.image, colormap: "gray", trustCalMinMax: false }]);
    image = nv.volumes[0];
    if (!image) throw new Error("no image");
    const [, columns, rows, count] = image.dimsRAS, [, dx, dy] = image.pixDimsRAS;
    first = { wide: columns * dx, high: rows * dy };
    slices = Math.max(count, 1);
    middle = Array.from(nv.frac2mm([0.5, 0.5, 0.5]));
    by("slice").max = slices;
    by("slices").hidden = slices < 2;
    Object.assign(by("level"), { min: low - span, max: high + span, step: span / 200 });
    Object.assign(by("width"), { min: span / 100, max: 6 * span, step: span / 200 });
    reset();
  }

  open().catch(() => {
    image = null;
    view.hidden = true;
    document.querySelector(".tools").hidden = true;
    by("not-shown").hidden = false;
  }).finally(() => {
    by("loading").hidden = true;
    view.dataset.ready = "yes";
    // From now on the scan is looked at.
    document.dispatchEvent(new Event("scan-ready"));
  });
})();
