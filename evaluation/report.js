"use strict";
// Every clip of the page plays on one clock, counted in driving frames; only those on the screen are drawn.
(() => {
  const speed = document.getElementById("speed");
  const play = document.getElementById("play");
  const position = document.getElementById("position");
  const pairs = [...document.querySelectorAll(".player")].map((element) => ({
    element,
    visible: false,
    frames: Number(element.dataset.frames),
    rate: Number(element.dataset.rate),
    clips: [...element.querySelectorAll("canvas")].map((canvas) => ({
      canvas,
      sheet: null,
      times: JSON.parse(canvas.dataset.times),
      columns: Number(canvas.dataset.columns),
      shown: -1,
    })),
  }));
  let clock = 0; // seconds of driving time
  let running = true;
  let last = null;

  const load = (pair) => {
    for (const clip of pair.clips) {
      if (clip.sheet) continue;
      clip.sheet = new Image();
      clip.sheet.onload = () => { clip.shown = -1; draw(pair); };
      clip.sheet.src = clip.canvas.dataset.sheet;
    }
  };
  const frameOf = (pair) => Math.floor(clock * pair.rate + 1e-6) % pair.frames;
  const draw = (pair) => {
    const frame = frameOf(pair);
    for (const clip of pair.clips) {
      if (!clip.sheet || !clip.sheet.complete || !clip.sheet.naturalWidth) continue;
      let cell = 0;
      while (cell + 1 < clip.times.length && clip.times[cell + 1] <= frame) cell += 1;
      if (cell === clip.shown) continue;
      clip.shown = cell;
      const { width, height } = clip.canvas;
      const x = (cell % clip.columns) * width;
      const y = Math.floor(cell / clip.columns) * height;
      clip.canvas.getContext("2d").drawImage(clip.sheet, x, y, width, height, 0, 0, width, height);
    }
  };
  const drawAll = () => {
    const visible = pairs.filter((pair) => pair.visible);
    visible.forEach(draw);
    if (visible.length) position.textContent = `frame ${frameOf(visible[0])} of ${visible[0].frames}`;
  };
  const tick = (now) => {
    if (running && last !== null) {
      clock += Math.min((now - last) / 1000, 0.1) * Number(speed.value);
      drawAll();
    }
    last = now;
    requestAnimationFrame(tick);
  };
  const step = (count) => {
    running = false;
    play.textContent = "play";
    const pair = pairs.find((item) => item.visible) || pairs[0];
    if (!pair) return;
    clock = (((frameOf(pair) + count + pair.frames) % pair.frames) + 0.5) / pair.rate;
    drawAll();
  };
  play.addEventListener("click", () => {
    running = !running;
    play.textContent = running ? "pause" : "play";
  });
  document.getElementById("back").addEventListener("click", () => step(-1));
  document.getElementById("forward").addEventListener("click", () => step(1));
  document.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const pair = pairs.find((item) => item.element === entry.target);
      pair.visible = entry.isIntersecting;
      if (pair.visible) { load(pair); draw(pair); }
    }
  }, { rootMargin: "200px" });
  pairs.forEach((pair) => observer.observe(pair.element));
  requestAnimationFrame(tick);
})();
