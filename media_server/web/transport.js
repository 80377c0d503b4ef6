// Owns: the buttons below the waveform, the clock, the rendition that is heard, and the keys of the whole page.

import { bitrate, clock, quality } from "./format.js";

const STEP_S = 5;

/** Show play or pause on a button, for the eye and for a screen reader. */
export function showPlaying(button, isPlaying) {
  button.setAttribute("aria-label", isPlaying ? "Pause" : "Play");
  button.querySelector("use").setAttribute("href", isPlaying ? "#icon-pause" : "#icon-play");
}

export class Transport {
  /** @param onSkip called with -1 or +1 for the previous or the next track */
  constructor(player, waveform, volume, onSkip) {
    const byId = (id) => document.getElementById(id);
    this.player = player;
    this.play = byId("play");
    this.skips = new Map([[-1, byId("previous")], [1, byId("next")]]);
    this.time = byId("time");
    this.length = byId("duration");
    this.rendition = byId("rendition");

    this.play.addEventListener("click", () => player.toggle());
    for (const [way, button] of this.skips) button.addEventListener("click", () => onSkip(way));
    waveform.addEventListener("seek", ({ detail }) => player.seek(detail));
    player.addEventListener("state", () => this.showState());
    player.addEventListener("rendition", ({ detail }) => this.showRendition(detail));
    player.addEventListener("time", () => {
      const { position, duration } = player;
      waveform.progress(position, duration);
      this.write(this.time, clock(position));
      this.write(this.length, clock(duration));
    });
    addEventListener("keydown", (event) => this.onKey(event, volume));
  }

  showState() {
    const { player } = this;
    this.play.disabled = !player.track;
    showPlaying(this.play, player.playing);
    this.play.classList.toggle("is-waiting", player.waiting);
  }

  /** The renditions of the track by their names, null while they are not known. */
  describe(track) {
    this.renditions = new Map(track?.renditions.map((rendition) => [rendition.name, rendition]));
    this.showRendition(this.heard ?? null);
  }

  showRendition(heard) {
    this.heard = heard;
    const known = heard && this.renditions?.get(heard.name);
    this.write(this.rendition, known ? quality(known) : heard ? bitrate(heard.bitrate) : "Auto");
    // the label states the encoder's setting; what the track really needs is beside it for who looks closer
    this.rendition.title = heard ? `${bitrate(heard.bitrate)} on average` : "";
    this.rendition.classList.toggle("is-live", Boolean(heard));
    this.rendition.dataset.rendition = heard?.name ?? "";
  }

  showSkips({ back, on }) {
    this.skips.get(-1).disabled = !back;
    this.skips.get(1).disabled = !on;
  }

  /** Writing the same text again would make screen readers and layout work for nothing, every frame. */
  write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  /** Space, the arrows and m work anywhere; a control that has the focus keeps the keys it understands. */
  onKey(event, volume) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    const { player } = this;
    const isSpace = event.key === " ";
    const taken = isSpace ? "button, a, input:not([type=range]), select, textarea" : "input, select, textarea";
    if (event.target.closest?.(taken)) return;
    const action = {
      " ": () => event.repeat || player.toggle(),
      m: () => volume.toggle(),
      ArrowLeft: () => player.seek(player.position - STEP_S),
      ArrowRight: () => player.seek(player.position + STEP_S),
    }[event.key];
    if (!action || !player.track) return;
    event.preventDefault();
    action();
  }
}
