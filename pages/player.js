"use strict";
// Every clip of the page plays in step, counted in driving frames; only those on the screen are drawn.
(() => {
  const speed = document.getElementById("speed");
  const play = document.getElementById("play");
  const position = document.getElementById("position");
  const difference = document.getElementById("difference"); // absent where the page does not offer it
  const together = "together" in document.body.dataset; // all rows start again when the longest one ends
  const pairs = [...document.querySelectorAll(".player")].map((element) => ({
    element,
    visible: false,
    at: 0, // driving frames since the start, with a fraction
    frames: Number(element.dataset.frames),
    rate: Number(element.dataset.rate),
    clips: [...element.querySelectorAll("canvas")].map((canvas) => ({
      canvas,
      sheet: null,
      first: null, // pixels of frame 0
      times: JSON.parse(canvas.dataset.times),
      columns: Number(canvas.dataset.columns),
      shown: -1,
    })),
  }));
  const longest = Math.max(...pairs.map((pair) => pair.frames / pair.rate));
  for (const pair of pairs) pair.length = together ? Math.round(longest * pair.rate) : pair.frames;
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
  const frameOf = (pair) => Math.min(Math.floor(pair.at + 1e-6) % pair.length, pair.frames - 1);
  const copy = (clip, cell) => {
    const { width, height } = clip.canvas;
    const context = clip.canvas.getContext("2d", { willReadFrequently: difference !== null });
    const x = (cell % clip.columns) * width;
    const y = Math.floor(cell / clip.columns) * height;
    context.drawImage(clip.sheet, x, y, width, height, 0, 0, width, height);
    return context;
  };
  const showDifference = (clip, cell) => { // 128 + gain · (frame − frame 0)
    const { width, height } = clip.canvas;
    if (!clip.first) clip.first = copy(clip, 0).getImageData(0, 0, width, height).data;
    const context = copy(clip, cell);
    const picture = context.getImageData(0, 0, width, height);
    const gain = Number(difference.dataset.gain);
    for (let i = 0; i < picture.data.length; i += 1) {
      if (i % 4 !== 3) picture.data[i] = 128 + gain * (picture.data[i] - clip.first[i]);
    }
    context.putImageData(picture, 0, 0);
  };
  const draw = (pair) => {
    const frame = frameOf(pair);
    for (const clip of pair.clips) {
      if (!clip.sheet || !clip.sheet.complete || !clip.sheet.naturalWidth) continue;
      let cell = 0;
      while (cell + 1 < clip.times.length && clip.times[cell + 1] <= frame) cell += 1;
      if (cell === clip.shown) continue;
      clip.shown = cell;
      clip.canvas.dataset.shown = cell;
      if (difference && difference.checked) showDifference(clip, cell);
      else copy(clip, cell);
    }
  };
  const drawAll = () => {
    const visible = pairs.filter((pair) => pair.visible);
    visible.forEach(draw);
    if (visible.length) position.textContent = `frame ${frameOf(visible[0])} of ${visible[0].frames}`;
  };
  const redraw = () => {
    for (const pair of pairs) for (const clip of pair.clips) clip.shown = -1;
    drawAll();
  };
  const tick = (now) => {
    if (running && last !== null) {
      const seconds = Math.min((now - last) / 1000, 0.1) * Number(speed.value);
      for (const pair of pairs) pair.at = (pair.at + seconds * pair.rate) % pair.length;
      drawAll();
    }
    last = now;
    requestAnimationFrame(tick);
  };
  const step = (count) => {
    running = false;
    play.textContent = "play";
    for (const pair of pairs) pair.at = ((Math.floor(pair.at + 1e-6) + count + pair.length) % pair.length) + 0.5;
    drawAll();
  };
  const sayHowSlow = () => {
    const factor = 1 / Number(speed.value);
    const text = factor === 1 ? "true speed" : `${Number(factor.toPrecision(3))} times slower`;
    for (const place of document.querySelectorAll(".slow")) place.textContent = text;
  };
  play.addEventListener("click", () => {
    running = !running;
    play.textContent = running ? "pause" : "play";
  });
  speed.addEventListener("change", sayHowSlow);
  sayHowSlow();
  if (difference) difference.addEventListener("change", redraw);
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
