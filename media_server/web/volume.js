// Owns: how loud this browser plays, and that it is remembered here.

const REMEMBERED = "veza.volume";

export class Volume {
  constructor(audio, slider, button) {
    this.audio = audio;
    this.slider = slider;
    this.button = button;
    const { level, muted } = this.recall();
    audio.volume = level;
    audio.muted = muted;
    slider.addEventListener("input", () => {
      audio.volume = slider.value / 100;
      audio.muted = audio.volume === 0;
    });
    button.addEventListener("click", () => this.toggle());
    audio.addEventListener("volumechange", () => this.show());
    this.show();
  }

  toggle() {
    this.audio.muted = !this.audio.muted;
    // Unmuting at zero would look broken: it comes back audible.
    if (!this.audio.muted && this.audio.volume === 0) this.audio.volume = 0.5;
  }

  show() {
    const { audio, slider, button } = this;
    const percent = audio.muted ? 0 : Math.round(audio.volume * 100);
    slider.value = String(percent);
    slider.style.setProperty("--filled", `${percent}%`);
    slider.setAttribute("aria-valuetext", audio.muted ? "muted" : `${percent} %`);
    button.setAttribute("aria-pressed", String(audio.muted));
    button.setAttribute("aria-label", audio.muted ? "Unmute" : "Mute");
    button.querySelector("use").setAttribute("href", audio.muted ? "#icon-muted" : "#icon-loud");
    this.remember();
  }

  /** Storage may be denied or hold anything; the page works without it. */
  recall() {
    try {
      const { level, muted } = JSON.parse(localStorage.getItem(REMEMBERED));
      return { level: level >= 0 && level <= 1 ? level : 1, muted: muted === true };
    } catch {
      return { level: 1, muted: false };
    }
  }

  remember() {
    try {
      localStorage.setItem(REMEMBERED, JSON.stringify({ level: this.audio.volume, muted: this.audio.muted }));
    } catch {
      // a private window: the volume lasts as long as the page
    }
  }
}
