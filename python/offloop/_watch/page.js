"use strict";
// Zooms the timeline: every drawing has the same x, milliseconds since the watch began, so that
// moving their view boxes together is all there is to do. The page can be read without this.
(() => {
  const timeline = document.getElementById("timeline");
  const whole = Number(timeline.dataset.whole);
  const drawings = [...timeline.querySelectorAll("svg")];
  const ticks = timeline.querySelector(".ticks");
  let from = 0;
  let span = whole;

  const say = (milliseconds, step) => {
    const digits = (unit) => Math.max(0, Math.min(6, Math.ceil(-Math.log10(step / unit) - 1e-9)));
    if (Math.abs(milliseconds) >= 60000 || step >= 60000) {
      const minutes = Math.floor(milliseconds / 60000);
      const seconds = (milliseconds - minutes * 60000) / 1000;
      return `${minutes} min ${seconds.toFixed(digits(1000))} s`;
    }
    if (step >= 1000 || milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(digits(1000))} s`;
    return `${milliseconds.toFixed(digits(1))} ms`;
  };

  const draw = () => {
    span = Math.min(Math.max(span, 0.05), whole);
    from = Math.min(Math.max(from, 0), whole - span);
    for (const drawing of drawings) {
      const height = drawing.viewBox.baseVal.height;
      drawing.setAttribute("viewBox", `${from} 0 ${span} ${height}`);
    }
    const raw = span / Math.max(ticks.clientWidth / 110, 2);
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((times) => times * power).find((it) => it >= raw);
    ticks.replaceChildren();
    for (let index = Math.ceil(from / step); index * step < from + span; index += 1) {
      const tick = document.createElement("span");
      tick.style.left = `${((index * step - from) / span) * 100}%`;
      tick.textContent = index === 0 ? "0" : say(index * step, step);
      ticks.append(tick);
    }
  };

  const zoom = (factor, centre = 0.5) => {
    const at = from + span * centre;
    span = factor === 0 ? whole : Math.min(Math.max(span * factor, 0.05), whole);
    from = at - span * centre;
    draw();
  };

  const share = (event) => {
    const box = ticks.getBoundingClientRect();
    return Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  };

  const open = (number) => {
    const details = document.getElementById(`stall-${number}`);
    if (!details) return;
    document.querySelectorAll("details.shown").forEach((it) => it.classList.remove("shown"));
    details.open = true;
    details.classList.add("shown");
    details.scrollIntoView({ block: "center" });
  };

  for (const drawing of drawings) {
    let held = null;
    let moved = false;
    drawing.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        from += (event.deltaX / ticks.clientWidth) * span;
        draw();
      } else {
        zoom(event.deltaY > 0 ? 1.25 : 0.8, share(event));
      }
    }, { passive: false });
    drawing.addEventListener("pointerdown", (event) => {
      held = { x: event.clientX, from };
      moved = false;
    });
    drawing.addEventListener("pointermove", (event) => {
      if (!held || !event.buttons) return;
      if (Math.abs(event.clientX - held.x) > 3) {
        moved = true;
        drawing.setPointerCapture(event.pointerId);
      }
      if (moved) {
        from = held.from - ((event.clientX - held.x) / ticks.clientWidth) * span;
        draw();
      }
    });
    drawing.addEventListener("pointerup", () => { held = null; });
    drawing.addEventListener("dblclick", () => zoom(0));
    drawing.addEventListener("click", (event) => {
      const stall = event.target.closest("[data-stall]");
      if (stall && !moved) open(stall.dataset.stall);
    });
  }

  for (const button of timeline.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => zoom(Number(button.dataset.zoom)));
  }
  for (const details of document.querySelectorAll("details[data-from]")) {
    details.addEventListener("toggle", () => {
      if (!details.open) return;
      const [begin, end] = [Number(details.dataset.from), Number(details.dataset.to)];
      span = (end - begin) * 4;
      from = begin - (end - begin) * 1.5;
      draw();
    });
  }
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = { "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: () => zoom(0) };
    if (event.key in keys) keys[event.key]();
  });
  addEventListener("resize", draw);

  timeline.classList.add("live");
  timeline.querySelector(".tools").hidden = false;
  const wanted = /^#view=([\d.]+),([\d.]+)$/.exec(location.hash);
  if (wanted) {
    from = Number(wanted[1]);
    span = Number(wanted[2]);
  }
  draw();
})();
