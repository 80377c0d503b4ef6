// Owns: the drawn waveform, which is also the seek slider. Draws what it is told and asks for positions with a
// "seek" event in seconds; pointer, touch and keyboard are equal.

import { clock, spokenTime } from "./format.js";

const STEP_S = 5;
const PAGE_S = 30;
const GROW_MS = 420;
const KEYS = {
  ArrowRight: (at) => at + STEP_S,
  ArrowUp: (at) => at + STEP_S,
  ArrowLeft: (at) => at - STEP_S,
  ArrowDown: (at) => at - STEP_S,
  PageUp: (at) => at + PAGE_S,
  PageDown: (at) => at - PAGE_S,
  Home: () => 0,
  End: (_, duration) => duration,
};

export class Waveform extends EventTarget {
  constructor(root) {
    super();
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.cursor = root.querySelector(".waveform-cursor");
    this.bubble = root.querySelector(".waveform-bubble");
    this.pen = this.canvas.getContext("2d");
    this.position = this.duration = 0;
    this.pointed = null; // the ratio under the pointer
    this.grown = 1;
    new ResizeObserver(() => this.fit()).observe(root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
    this.stillness = matchMedia("(prefers-reduced-motion: reduce)");
    root.addEventListener("keydown", (event) => this.onKey(event));
    root.addEventListener("pointerdown", (event) => this.onPress(event));
    root.addEventListener("pointermove", (event) => this.point(event));
    root.addEventListener("pointerup", (event) => this.onRelease(event));
    root.addEventListener("pointerleave", () => this.dragging || this.point(null));
    root.addEventListener("pointercancel", () => {
      this.dragging = false;
      this.point(null);
    });
  }

  /** Show audiowaveform data ([lowest, highest, ...], 8 bit), or a flat line for null. */
  show(data) {
    this.peaks = data && Float32Array.from({ length: data.length >> 1 }, (_, i) => Math.max(-data[2 * i], data[2 * i + 1]) / 128);
    this.shape();
    this.startedGrowing = performance.now();
    this.grow();
  }

  /** Where the track is, both in seconds; repaints only when a pixel changes. */
  progress(position, duration) {
    [this.position, this.duration] = [position, duration];
    const second = `${Math.floor(position)}/${Math.floor(duration)}`;
    if (second !== this.second) this.tell(second);
    const edge = Math.round(this.ratio * this.canvas.width);
    if (edge !== this.edge) this.paint();
  }

  get ratio() {
    return this.duration ? Math.min(1, this.position / this.duration) : 0;
  }

  tell(second) {
    this.second = second;
    const { root, position, duration } = this;
    root.setAttribute("aria-valuemax", String(Math.floor(duration)));
    root.setAttribute("aria-valuenow", String(Math.floor(position)));
    root.setAttribute("aria-valuetext", duration ? `${spokenTime(position)} of ${spokenTime(duration)}` : "no track");
    root.setAttribute("aria-disabled", String(!duration));
  }

  fit() {
    const scale = devicePixelRatio || 1;
    const { width, height } = this.root.getBoundingClientRect();
    if (!width) return;
    [this.scale, this.canvas.width, this.canvas.height] = [scale, Math.round(width * scale), Math.round(height * scale)];
    this.shape();
    this.recolour();
  }

  recolour() {
    const style = getComputedStyle(this.root);
    this.colours = ["rest", "ahead", "played"].map((name) => style.getPropertyValue(`--wave-${name}`));
    this.paint();
  }

  /** One bar a few pixels wide: the mean of its peaks, which shows the music where their maximum shows a wall. */
  shape() {
    if (!this.scale) return;
    const pitch = (this.canvas.width / this.scale < 480 ? 4 : 5) * this.scale;
    const count = Math.max(1, Math.floor(this.canvas.width / pitch));
    this.bars = Float32Array.from({ length: count }, (_, i) => {
      if (!this.peaks?.length) return 0;
      const from = Math.floor((i * this.peaks.length) / count);
      const to = Math.max(from + 1, Math.floor(((i + 1) * this.peaks.length) / count));
      return this.peaks.subarray(from, to).reduce((sum, peak) => sum + peak, 0) / (to - from);
    });
    // Fill the height, but let what is nearly silent look nearly silent.
    const loudest = Math.max(0.15, ...this.bars);
    this.bars = this.bars.map((bar) => bar / loudest);
  }

  grow() {
    const age = this.stillness.matches ? 1 : Math.min(1, (performance.now() - this.startedGrowing) / GROW_MS);
    this.grown = 1 - (1 - age) ** 3;
    this.paint();
    if (age < 1) requestAnimationFrame(() => this.grow());
  }

  paint() {
    if (!this.scale || !this.colours) return;
    const { pen, canvas, bars, scale } = this;
    const { width, height } = canvas;
    const pitch = width / bars.length;
    const thick = pitch - 2 * scale;
    const outline = new Path2D();
    bars.forEach((bar, i) => {
      const tall = Math.max(thick, bar * this.grown * height);
      outline.roundRect(i * pitch, (height - tall) / 2, thick, tall, thick / 2);
    });
    this.edge = Math.round(this.ratio * width);
    const pointed = this.pointed === null ? this.edge : Math.round(this.pointed * width);
    const [low, high] = [Math.min(this.edge, pointed), Math.max(this.edge, pointed)];
    const [rest, ahead, played] = this.colours;
    pen.clearRect(0, 0, width, height);
    for (const [colour, from, to] of [[played, 0, low], [ahead, low, high], [rest, high, width]]) {
      if (to <= from) continue;
      pen.save();
      pen.beginPath();
      pen.rect(from, 0, to - from, height);
      pen.clip();
      pen.fillStyle = colour;
      pen.fill(outline);
      pen.restore();
    }
  }

  onKey(event) {
    const move = KEYS[event.key];
    if (!move || !this.duration || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.ask(move(this.position, this.duration));
  }

  onPress(event) {
    if (!this.duration || event.button) return;
    this.dragging = true;
    this.root.setPointerCapture(event.pointerId);
    this.point(event);
  }

  onRelease(event) {
    if (!this.dragging) return;
    this.dragging = false;
    this.point(event);
    this.ask(this.pointed * this.duration);
    if (event.pointerType !== "mouse") this.point(null);
  }

  /** Follow the pointer with a line and the time below it; null takes both away. */
  point(event) {
    const box = this.root.getBoundingClientRect();
    this.pointed = event && this.duration ? Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) : null;
    this.cursor.hidden = this.bubble.hidden = this.pointed === null;
    if (this.pointed !== null) {
      const x = this.pointed * box.width;
      this.bubble.textContent = clock(this.pointed * this.duration);
      this.cursor.style.transform = `translateX(${x}px)`;
      const half = this.bubble.offsetWidth / 2;
      this.bubble.style.transform = `translateX(${Math.max(half, Math.min(box.width - half, x)) - half}px)`;
    }
    this.paint();
  }

  ask(seconds) {
    this.dispatchEvent(new CustomEvent("seek", { detail: Math.max(0, Math.min(this.duration, seconds)) }));
  }
}
